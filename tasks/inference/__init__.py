"""Networks over many studies: segmentation and other outputs."""
