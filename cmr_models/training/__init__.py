"""What training needs of arrays: variation of images, losses, schedules, partial labels."""
