"""Where images and labels come from: data sets as listings, listings as sources, what headers say."""
