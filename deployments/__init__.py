"""Where the project runs: reviewed data (policies, stack, job template, automations, rules) and its installers."""
