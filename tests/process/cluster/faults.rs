//! Whatever happens to Redis: no cap is exceeded, no request fails, and everybody can see it.
