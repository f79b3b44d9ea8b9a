package main

// The back end 1: session, catalog and download caches behind one "cache manager".

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

var mediaScenarios = []scenario{
	{"media_cache_manager", mediaCacheManager},
	{"media_rate_limit", mediaRateLimit},
	{"media_lock_with_token", mediaLock},
	{"media_invalidation_by_pattern", mediaInvalidation},
}

type catalogItem struct {
	ID    int
	Title string
	Tags  []string
}

func item(number int) catalogItem {
	return catalogItem{number, fmt.Sprintf("Film %d", number), []string{strings.Repeat("drama ", 40), "2026"}}
}

func mediaCacheManager(ctx context.Context) {
	client := connect()
	defer client.Close()
	ttls := map[string]time.Duration{
		"session": 24 * time.Hour, "profile": 15 * time.Minute, "seen:catalog": 5 * time.Minute,
		"search": 10 * time.Minute, "recommendations": time.Hour, "progress": 30 * time.Second,
	}
	for kind, ttl := range ttls {
		for number := 0; number < 60; number++ {
			text := get(json.Marshal(item(number)))
			must(client.Set(ctx, fmt.Sprintf("%s:%d", kind, number), text, ttl).Err())
		}
	}
	direct("chill")
	for kind, ttl := range ttls {
		left := get(client.TTL(ctx, kind+":7").Result())
		check(left > ttl-30*time.Second && left <= ttl, "%s lives for %v", kind, left)
		keys := make([]string, 60)
		for number := range keys {
			keys[number] = fmt.Sprintf("%s:%d", kind, number)
		}
		for number, value := range get(client.MGet(ctx, append(keys, "no such key")...).Result()) {
			if number == 60 {
				equal(value, nil)
				continue
			}
			var found catalogItem
			must(json.Unmarshal([]byte(value.(string)), &found))
			equal(found, item(number))
		}
		equal(get(client.Exists(ctx, keys...).Result()), int64(60))
		equal(get(client.Del(ctx, keys...).Result()), int64(60))
	}
	must(client.MSet(ctx, "a", 1, "b", "two").Err())
	equal(get(client.GetSet(ctx, "a", 5).Result()), "1")
	equal(get(client.IncrBy(ctx, "a", 10).Result()), int64(15))
	equal(get(client.SetNX(ctx, "b", "three", time.Minute).Result()), false)
	check(errors.Is(client.Get(ctx, "no such key").Err(), redis.Nil), "a miss is redis.Nil")
	must(client.Del(ctx, "a", "b").Err())
}

// INCR and EXPIRE, 100 a minute, from several requests at a time.
func mediaRateLimit(ctx context.Context) {
	client := connect()
	defer client.Close()
	var waiting sync.WaitGroup
	var lock sync.Mutex
	allowed := 0
	for worker := 0; worker < 8; worker++ {
		waiting.Add(1)
		go func() {
			defer waiting.Done()
			for request := 0; request < 25; request++ {
				count := client.Incr(ctx, "limit:7:search").Val()
				if count == 1 {
					client.Expire(ctx, "limit:7:search", time.Minute)
				}
				if count >= 1 && count <= 100 {
					lock.Lock()
					allowed++
					lock.Unlock()
				}
			}
		}()
	}
	waiting.Wait()
	equal(allowed, 100)
	equal(get(client.Get(ctx, "limit:7:search").Int()), 200)
	check(get(client.TTL(ctx, "limit:7:search").Result()) > 50*time.Second, "the minute ends")
	must(client.Del(ctx, "limit:7:search").Err())
}

var release = redis.NewScript(`
	if redis.call("GET", KEYS[1]) == ARGV[1] then
		return redis.call("DEL", KEYS[1])
	end
	return 0`)

// SET NX PX with a token; release by compare-and-delete in Lua: EVALSHA, and EVAL after NOSCRIPT.
func mediaLock(ctx context.Context) {
	client := connect()
	defer client.Close()
	must(client.ScriptFlush(ctx).Err())
	equal(get(client.SetNX(ctx, "lock:transcode", "token 1", 30*time.Second).Result()), true)
	direct("chill")
	equal(get(client.SetNX(ctx, "lock:transcode", "token 2", 30*time.Second).Result()), false)
	equal(get(release.Exists(ctx, client).Result()), []bool{false})
	equal(get(release.Run(ctx, client, []string{"lock:transcode"}, "token 2").Int()), 0)
	equal(get(release.Exists(ctx, client).Result()), []bool{true})
	equal(get(release.Run(ctx, client, []string{"lock:transcode"}, "token 1").Int()), 1)
	equal(get(client.Exists(ctx, "lock:transcode").Result()), int64(0))
	direct("restart")
	must(client.Set(ctx, "lock:transcode", "token 3", 0).Err())
	equal(get(release.Run(ctx, client, []string{"lock:transcode"}, "token 3").Int()), 1)
}

// SCAN with a pattern and UNLINK in bulk; nothing else goes.
func mediaInvalidation(ctx context.Context) {
	client := connect()
	defer client.Close()
	pipeline := client.Pipeline()
	for number := 0; number < 1000; number++ {
		pipeline.Set(ctx, fmt.Sprintf("seen:catalog:%d", number), strings.Repeat("c", 300), 5*time.Minute)
		pipeline.Set(ctx, fmt.Sprintf("kept:catalog:%d", number), number, 0)
	}
	get(pipeline.Exec(ctx))
	direct("chill")
	before := get(client.DBSize(ctx).Result())
	removed := int64(0)
	for cursor := uint64(0); ; {
		var keys []string
		var err error
		keys, cursor, err = client.Scan(ctx, cursor, "seen:catalog:*", 200).Result()
		must(err)
		if len(keys) > 0 {
			removed += get(client.Unlink(ctx, keys...).Result())
		}
		if cursor == 0 {
			break
		}
	}
	equal(removed, int64(1000))
	equal(get(client.DBSize(ctx).Result()), before-1000)
	memory := get(client.Info(ctx, "memory").Result())
	check(strings.Contains(memory, "used_memory_human:"), "%s", memory)
	check(strings.Contains(get(client.Info(ctx, "stats").Result()), "keyspace_hits:"), "the statistics")
	iterator, count := client.Scan(ctx, 0, "kept:catalog:*", 100).Iterator(), 0
	for iterator.Next(ctx) {
		must(client.Del(ctx, iterator.Val()).Err())
		count++
	}
	must(iterator.Err())
	equal(count, 1000)
}
