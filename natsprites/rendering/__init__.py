"""Sprites as images: on the CPU to the byte as Spriteworld and Pillow draw them, and the same in torch."""
