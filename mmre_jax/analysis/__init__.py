"""Looking at data, models and predictions: audits, reports, maps, plots."""
