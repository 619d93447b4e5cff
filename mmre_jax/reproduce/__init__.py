"""Every table and figure of the five papers, and ours: what is run for each, and the paper's numbers beside what came out."""
