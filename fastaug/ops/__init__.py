"""What a user can ask for: the augmentations, and torchvision's transforms read as them."""
