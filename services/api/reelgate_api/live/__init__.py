"""What happens to jobs, told as it happens: event streams and long polls."""
