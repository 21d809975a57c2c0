"""Which samples come when: orders, epochs, tickets; and the keyed words that all is drawn from."""
