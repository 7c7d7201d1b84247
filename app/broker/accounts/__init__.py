"""Users, sessions, write sessions and API tokens: the broker keeps them, and checks them on each edit itself."""
