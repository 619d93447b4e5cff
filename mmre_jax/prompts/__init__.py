"""A prompted vision-language model as a baseline: requests for the records of a split, and what its answers say. No request is sent."""
