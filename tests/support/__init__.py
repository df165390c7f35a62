"""What tests share: jobs and records, servers, clusters, models, browsers."""
