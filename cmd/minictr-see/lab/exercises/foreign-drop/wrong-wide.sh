# The policy is as before, and nothing comes to it any more.
nft insert rule inet guard forward iifname eth0 accept
