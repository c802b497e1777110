fresh_host
for n in red green blue; do namespace $n; done
