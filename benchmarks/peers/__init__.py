"""One loader a module: TITLE, and make(job), which gives something to iterate over, an epoch a time."""
