"""`hcep init`: from a folder of somebody's clips to a table, a task and its splits."""
