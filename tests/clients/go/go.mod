module larder.test/clients

go 1.19

require (
	github.com/go-redis/redis_rate/v10 v10.0.1
	github.com/hibiken/asynq v0.24.1
	github.com/redis/go-redis/v9 v9.17.0
)
