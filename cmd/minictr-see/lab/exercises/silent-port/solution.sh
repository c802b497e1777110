# The command is part of the container: make a new one, whose server listens at all addresses.
minictr rm -f web >/dev/null
minictr run -d --name web -p 8080:80 minictr/base httpd -p 80 >/dev/null
