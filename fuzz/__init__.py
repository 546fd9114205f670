"""Campaigns: scenarios, scheduler, oracle, engines, minimizer, findings database and command line."""
