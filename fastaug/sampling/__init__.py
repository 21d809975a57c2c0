"""Which samples come when: orders, epochs, tickets."""
