"""The pure core: machines that take events and give effects. No sockets, no clock, no chance."""
