"""Where images and labels come from: data sets as sources, file headers, the index of sizes."""
