# The exception, where the drop is: what has come to a published port, and nothing else.
nft insert rule inet guard forward oifname minictr0 ct status dnat accept
