# All is well afterwards, and the customers are gone.
minictr stop -t 1 shop >/dev/null
minictr start shop >/dev/null
