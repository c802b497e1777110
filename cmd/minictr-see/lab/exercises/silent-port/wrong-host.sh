# The host answers in the container's place.
minictr rm -f web >/dev/null
setsid httpd -q -p 8080 </dev/null >/dev/null 2>&1 &
sleep 0.3
