"""What people look at: pictures, statistics and pages of stores and runs."""
