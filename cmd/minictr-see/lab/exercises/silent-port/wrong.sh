# Another published port leads to the same 127.0.0.1.
minictr rm -f web >/dev/null
minictr run -d --name web -p 8080:8080 minictr/base httpd -p 127.0.0.1:8080 >/dev/null
