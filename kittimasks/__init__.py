"""KITTI Masks."""
