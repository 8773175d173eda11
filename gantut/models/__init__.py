"""What do the generator and the discriminator look like?  One family of networks a file."""
