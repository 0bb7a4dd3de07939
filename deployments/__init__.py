"""Where it runs: reviewed data (policies, stack, job template, automations, rules) and the programs that install it."""
