"""`make bench`: what a decision costs, beside what others would have written. Not shipped to Lambda."""
