package main

// The back end 3: sessions, rate limits, leaderboards and messages between several instances.

import (
	"context"
	"fmt"
	"sort"
	"strconv"
	"time"

	"github.com/go-redis/redis_rate/v10"
	"github.com/redis/go-redis/v9"
)

var productivityScenarios = []scenario{
	{"productivity_sessions", productivitySessions},
	{"productivity_sliding_window", slidingWindow},
	{"productivity_token_bucket", tokenBucket},
	{"productivity_leaderboard", leaderboard},
	{"productivity_messages_resp2", func(ctx context.Context) { messages(ctx, 2) }},
	{"productivity_messages_resp3", func(ctx context.Context) { messages(ctx, 3) }},
	{"redis_rate", redisRate},
}

type session struct {
	User   string `redis:"user"`
	Device string `redis:"device"`
	Visits int    `redis:"visits"`
}

// A hash with a deadline for each session, a set of ids for each user.
func productivitySessions(ctx context.Context) {
	client := connect()
	defer client.Close()
	for number := 0; number < 200; number++ {
		key := fmt.Sprintf("session:%d", number)
		_, err := client.TxPipelined(ctx, func(together redis.Pipeliner) error {
			together.HSet(ctx, key, session{fmt.Sprint(number % 10), "phone", number})
			together.Expire(ctx, key, time.Hour)
			together.SAdd(ctx, fmt.Sprintf("sessions:%d", number%10), number)
			return nil
		})
		must(err)
	}
	direct("chill")
	direct("restart")
	var found session
	must(client.HGetAll(ctx, "session:123").Scan(&found))
	equal(found, session{"3", "phone", 123})
	equal(get(client.HIncrBy(ctx, "session:123", "visits", 1).Result()), int64(124))
	check(get(client.TTL(ctx, "session:123").Result()) > 59*time.Minute, "the deadline is kept")
	for user := 0; user < 10; user++ {
		ids := get(client.SMembers(ctx, fmt.Sprintf("sessions:%d", user)).Result())
		equal(len(ids), 20)
		for _, id := range ids {
			equal(get(client.SRem(ctx, fmt.Sprintf("sessions:%d", user), id).Result()), int64(1))
			equal(get(client.Del(ctx, "session:"+id).Result()), int64(1))
		}
		equal(get(client.Exists(ctx, fmt.Sprintf("sessions:%d", user)).Result()), int64(0))
	}
}

// A sorted set of times, once in MULTI and once in Lua.
func slidingWindow(ctx context.Context) {
	client := connect()
	defer client.Close()
	const window, limit = 1000, 10
	allow := func(now int) bool {
		var count *redis.IntCmd
		_, err := client.TxPipelined(ctx, func(together redis.Pipeliner) error {
			together.ZRemRangeByScore(ctx, "window", "-inf", strconv.Itoa(now-window))
			count = together.ZCard(ctx, "window")
			together.ZAdd(ctx, "window", redis.Z{Score: float64(now), Member: now})
			together.Expire(ctx, "window", time.Minute)
			return nil
		})
		must(err)
		return count.Val() < limit
	}
	script := redis.NewScript(`
		redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[1] - ARGV[2])
		local count = redis.call('ZCARD', KEYS[1])
		if count >= tonumber(ARGV[3]) then return {0, count} end
		redis.call('ZADD', KEYS[1], ARGV[1], ARGV[1])
		redis.call('PEXPIRE', KEYS[1], ARGV[2])
		return {1, count + 1}`)
	for now := 0; now < 20; now++ {
		equal(allow(10_000+now), now < limit)
		reply := get(script.Run(ctx, client, []string{"window:lua"}, 10_000+now, window, limit).Int64Slice())
		equal(reply[0] == 1, now < limit)
	}
	direct("chill")
	equal(allow(10_000+window+19), true)
	equal(get(script.Run(ctx, client, []string{"window:lua"}, 20_000, window, limit).Int64Slice()), []int64{1, 1})
	must(client.Del(ctx, "window", "window:lua").Err())
}

// Tokens in a hash, filled up by the server's own clock.
func tokenBucket(ctx context.Context) {
	client := connect()
	defer client.Close()
	script := redis.NewScript(`
		local time = redis.call('TIME')
		local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
		local capacity, per_second = tonumber(ARGV[1]), tonumber(ARGV[2])
		local bucket = redis.call('HMGET', KEYS[1], 'tokens', 'at')
		local tokens = tonumber(bucket[1]) or capacity
		local at = tonumber(bucket[2]) or now
		tokens = math.min(capacity, tokens + (now - at) / 1000 * per_second)
		local allowed = tokens >= 1
		if allowed then tokens = tokens - 1 end
		redis.call('HSET', KEYS[1], 'tokens', tostring(tokens), 'at', now)
		redis.call('EXPIRE', KEYS[1], 60)
		return {allowed and 1 or 0, tostring(tokens)}`)
	allowed := 0
	for request := 0; request < 20; request++ {
		reply := get(script.Run(ctx, client, []string{"bucket:7"}, 10, 0.001).Slice())
		allowed += int(reply[0].(int64))
		if request == 5 {
			direct("chill")
		}
	}
	equal(allowed, 10)
	must(client.Del(ctx, "bucket:7").Err())
}

func leaderboard(ctx context.Context) {
	client := connect()
	defer client.Close()
	for number := 0; number < 1000; number++ {
		must(client.ZAdd(ctx, "board", redis.Z{Score: float64(number), Member: fmt.Sprintf("user:%03d", number)}).Err())
	}
	direct("chill")
	equal(get(client.ZIncrBy(ctx, "board", 2000.5, "user:500").Result()), 2500.5)
	top := get(client.ZRevRangeWithScores(ctx, "board", 0, 99).Result())
	equal(len(top), 100)
	equal(top[0], redis.Z{Score: 2500.5, Member: "user:500"})
	equal(top[1], redis.Z{Score: 999, Member: "user:999"})
	check(sort.SliceIsSorted(top, func(a, b int) bool { return top[a].Score > top[b].Score }), "%v", top)
	equal(get(client.ZRevRank(ctx, "board", "user:998").Result()), int64(2))
	equal(get(client.ZScore(ctx, "board", "user:042").Result()), 42.0)
	equal(client.ZScore(ctx, "board", "nobody").Err(), redis.Nil)
	equal(get(client.ZCount(ctx, "board", "100", "(200").Result()), int64(100))
	must(client.Del(ctx, "board").Err())
}

// Two instances listen; the third tells.
func messages(ctx context.Context, protocol int) {
	settings := options()
	settings.Protocol = protocol
	first, second, teller := redis.NewClient(settings), redis.NewClient(settings), redis.NewClient(settings)
	defer first.Close()
	defer second.Close()
	defer teller.Close()
	channel, pattern := first.Subscribe(ctx, "board:7"), second.PSubscribe(ctx, "board:*")
	defer channel.Close()
	defer pattern.Close()
	get(channel.Receive(ctx))
	get(pattern.Receive(ctx))
	// Receiving in the background, the library notices a lost connection and subscribes anew.
	often := redis.WithChannelHealthCheckInterval(100 * time.Millisecond)
	byChannel, byPattern := channel.Channel(often), pattern.Channel(often)
	next := func(messages <-chan *redis.Message) *redis.Message {
		select {
		case message := <-messages:
			return message
		case <-ctx.Done():
			panic(ctx.Err())
		}
	}
	for number := 0; number < 50; number++ {
		equal(get(teller.Publish(ctx, "board:7", number).Result()), int64(2))
	}
	equal(get(teller.Publish(ctx, "board:8", "other").Result()), int64(1))
	for number := 0; number < 50; number++ {
		equal(next(byChannel).Payload, strconv.Itoa(number))
		message := next(byPattern)
		equal([]string{message.Pattern, message.Channel, message.Payload}, []string{"board:*", "board:7", strconv.Itoa(number)})
	}
	equal(next(byPattern).Payload, "other")
	equal(get(teller.PubSubNumSub(ctx, "board:7").Result()), map[string]int64{"board:7": 1})
	// Subscriptions are made anew after a restart.
	direct("restart")
	waitUntil("both listen again", func() bool {
		return teller.PubSubNumSub(ctx, "board:7").Val()["board:7"] == 1 && teller.PubSubNumPat(ctx).Val() == 1
	})
	equal(get(teller.Publish(ctx, "board:7", "again").Result()), int64(2))
	equal(next(byChannel).Payload, "again")
}

func redisRate(ctx context.Context) {
	client := connect()
	defer client.Close()
	limiter := redis_rate.NewLimiter(client)
	limit := redis_rate.PerHour(5)
	for request := 0; request < 8; request++ {
		result := get(limiter.Allow(ctx, "user:7", limit))
		equal(result.Allowed == 1, request < 5)
		if request == 2 {
			direct("chill")
		}
		if request >= 5 {
			check(result.RetryAfter > 0, "it says when to come again: %v", result)
		}
	}
	equal(get(limiter.AllowAtMost(ctx, "user:8", limit, 20)).Allowed, 5)
	must(limiter.Reset(ctx, "user:7"))
	equal(get(limiter.Allow(ctx, "user:7", limit)).Remaining, 4)
	must(limiter.Reset(ctx, "user:7"))
	must(limiter.Reset(ctx, "user:8"))
}
