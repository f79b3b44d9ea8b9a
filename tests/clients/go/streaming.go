package main

// The back end 5: an HTTP response cache behind a pool of connections that outlives the server's restarts.

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

var streamingScenarios = []scenario{
	{"streaming_pool_and_restart", streamingPool},
	{"streaming_response_cache", responseCache},
	{"streaming_blocking_and_streams", streamingBlocking},
	{"streaming_flushall", streamingFlushAll},
}

func pool() *redis.Client {
	settings := options()
	settings.Protocol = 3
	settings.PoolSize, settings.MinIdleConns = 25, 5
	settings.ConnMaxIdleTime = 5 * time.Minute
	settings.MaxRetries, settings.MinRetryBackoff, settings.MaxRetryBackoff = 3, 50*time.Millisecond, 2*time.Second
	settings.ClientName = "streaming"
	return redis.NewClient(settings)
}

// 25 workers count; the server is killed under them; what was acknowledged is there.
func streamingPool(ctx context.Context) {
	client := pool()
	defer client.Close()
	var acknowledged, attempted int64
	var waiting sync.WaitGroup
	counting, stop := context.WithCancel(ctx)
	defer stop()
	for worker := 0; worker < 25; worker++ {
		waiting.Add(1)
		go func() {
			defer waiting.Done()
			for counting.Err() == nil {
				atomic.AddInt64(&attempted, 1)
				if client.IncrBy(counting, "views", 1).Err() == nil {
					atomic.AddInt64(&acknowledged, 1)
				}
			}
		}()
	}
	waitUntil("they count", func() bool { return atomic.LoadInt64(&acknowledged) > 500 })
	clients := get(client.ClientList(ctx).Result())
	// Redis names the library from 7.2 on.
	namesLibrary := strings.Contains(clients, "lib-name=go-redis") || !strings.Contains(clients, "lib-name=")
	check(strings.Contains(clients, "name=streaming") && namesLibrary, "%s", clients)
	direct("restart")
	seen := atomic.LoadInt64(&acknowledged)
	waitUntil("they go on", func() bool { return atomic.LoadInt64(&acknowledged) > seen+500 })
	stop()
	waiting.Wait()
	views := get(client.Get(ctx, "views").Int64())
	// A retried command may have been counted twice, at most MaxRetries times more than tried.
	check(views >= acknowledged && views <= 4*attempted, "%d views, %d acknowledged", views, acknowledged)
	statistics := client.PoolStats()
	check(statistics.Hits > 0 && statistics.TotalConns <= 25, "%+v", statistics)
	must(client.Del(ctx, "views").Err())
}

// The key is the SHA-256 of the URI; a mutation invalidates by pattern.
func responseCache(ctx context.Context) {
	client := pool()
	defer client.Close()
	key := func(user, page int) string {
		sum := sha256.Sum256([]byte(fmt.Sprintf("/api/v1/users/%d/pages/%d?full=1", user, page)))
		return fmt.Sprintf("http:user:%d:%s", user, hex.EncodeToString(sum[:]))
	}
	body := func(user, page int) string {
		return strings.Repeat(fmt.Sprintf(`{"user":%d,"page":%d}`, user, page), 30)
	}
	for user := 120; user < 130; user++ {
		for page := 0; page < 60; page++ {
			must(client.Set(ctx, key(user, page), body(user, page), 10*time.Minute).Err())
		}
	}
	direct("chill")
	iterator, keys := client.Scan(ctx, 0, "*:user:123:*", 100).Iterator(), []string{}
	for iterator.Next(ctx) {
		keys = append(keys, iterator.Val())
	}
	must(iterator.Err())
	equal(len(keys), 60)
	equal(get(client.Del(ctx, keys...).Result()), int64(60))
	for user := 120; user < 130; user++ {
		for page := 0; page < 60; page++ {
			value, err := client.Get(ctx, key(user, page)).Result()
			if user == 123 {
				equal(err, redis.Nil)
			} else {
				equal(value, body(user, page))
			}
		}
	}
	equal(get(client.SetNX(ctx, "rebuild", "1", time.Minute).Result()), true)
	equal(get(client.SetNX(ctx, "rebuild", "2", time.Minute).Result()), false)
	must(client.Del(ctx, "rebuild").Err())
}

// Blocking pops over a pool, and a stream read by a group.
func streamingBlocking(ctx context.Context) {
	client := pool()
	defer client.Close()
	const consumers = 10
	results := make(chan string, consumers)
	for consumer := 0; consumer < consumers; consumer++ {
		go func() {
			reply, err := client.BLPop(ctx, 15*time.Second, "encode:high", "encode:low").Result()
			if err != nil {
				results <- err.Error()
				return
			}
			results <- reply[1]
		}()
	}
	waitUntil("all wait", func() bool {
		return strings.Contains(client.Info(ctx, "clients").Val(), fmt.Sprintf("blocked_clients:%d\r", consumers))
	})
	for number := 0; number < consumers; number++ {
		must(client.RPush(ctx, "encode:low", fmt.Sprintf("job %d", number)).Err())
	}
	seen := map[string]bool{}
	for number := 0; number < consumers; number++ {
		seen[<-results] = true
	}
	for number := 0; number < consumers; number++ {
		check(seen[fmt.Sprintf("job %d", number)], "%v", seen)
	}
	must(client.XGroupCreateMkStream(ctx, "segments", "players", "$").Err())
	for number := 0; number < 100; number++ {
		must(client.XAdd(ctx, &redis.XAddArgs{Stream: "segments", Values: []any{"number", number}}).Err())
	}
	direct("chill")
	count := 0
	for count < 100 {
		read := &redis.XReadGroupArgs{Group: "players", Consumer: "one", Streams: []string{"segments", ">"}, Count: 30, Block: time.Second}
		for _, message := range get(client.XReadGroup(ctx, read).Result())[0].Messages {
			equal(message.Values["number"], fmt.Sprint(count))
			equal(get(client.XAck(ctx, "segments", "players", message.ID).Result()), int64(1))
			count++
		}
	}
	equal(get(client.XPending(ctx, "segments", "players").Result()).Count, int64(0))
	must(client.Del(ctx, "segments").Err())
}

func streamingFlushAll(ctx context.Context) {
	client := pool()
	defer client.Close()
	settings := options()
	settings.DB = 4
	other := redis.NewClient(settings)
	defer other.Close()
	must(client.Set(ctx, "here", 1, 0).Err())
	must(other.Set(ctx, "there", 1, 0).Err())
	direct("chill")
	must(client.FlushAll(ctx).Err())
	equal(get(client.DBSize(ctx).Result()), int64(0))
	equal(get(other.Exists(ctx, "there").Result()), int64(0))
}
