import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import redis.clients.jedis.DefaultJedisClientConfig;
import redis.clients.jedis.HostAndPort;
import redis.clients.jedis.Jedis;
import redis.clients.jedis.JedisPubSub;
import redis.clients.jedis.JedisPooled;
import redis.clients.jedis.Pipeline;
import redis.clients.jedis.RedisProtocol;
import redis.clients.jedis.Response;
import redis.clients.jedis.StreamEntryID;
import redis.clients.jedis.Transaction;
import redis.clients.jedis.exceptions.JedisNoScriptException;
import redis.clients.jedis.exceptions.JedisConnectionException;
import redis.clients.jedis.params.ScanParams;
import redis.clients.jedis.params.SetParams;
import redis.clients.jedis.params.XReadGroupParams;
import redis.clients.jedis.resps.ScanResult;
import redis.clients.jedis.resps.StreamEntry;

/** Jedis, the blocking client, in both protocols: what a Java back end does with a cache. */
final class JedisScenarios {
    private JedisScenarios() {}

    private static DefaultJedisClientConfig configuration(RedisProtocol protocol) {
        return DefaultJedisClientConfig.builder().password(Stage.PASSWORD).protocol(protocol).timeoutMillis(Stage.REPLY_MS)
                .blockingSocketTimeoutMillis(Stage.REPLY_MS).clientName("scenarios").build();
    }

    private static Jedis connect(RedisProtocol protocol) {
        return new Jedis(new HostAndPort(Stage.HOST, Stage.PORT), configuration(protocol));
    }

    /** A pooled client with pipelines, deadlines, SCAN; its connections outlive a SIGKILL. */
    static void cache(RedisProtocol protocol) {
        try (JedisPooled client = new JedisPooled(new HostAndPort(Stage.HOST, Stage.PORT), configuration(protocol))) {
            try (Pipeline pipeline = client.pipelined()) {
                List<Response<String>> replies = new ArrayList<>();
                for (int number = 0; number < 500; number++) {
                    String value = "value " + number + "x".repeat(400);
                    replies.add(pipeline.set("java:" + number, value, SetParams.setParams().ex(3600)));
                }
                pipeline.sync();
                replies.forEach(reply -> Stage.equal(reply.get(), "OK"));
            }
            Stage.direct("chill");
            Stage.direct("restart");
            Stage.waitUntil("the pool has new connections", () -> {
                try {
                    return client.ping().equals("PONG");
                } catch (JedisConnectionException stale) {
                    return false;
                }
            });
            Set<String> found = new HashSet<>();
            String cursor = ScanParams.SCAN_POINTER_START;
            do {
                ScanResult<String> result = scan(client, cursor);
                found.addAll(result.getResult());
                cursor = result.getCursor();
            } while (!cursor.equals(ScanParams.SCAN_POINTER_START));
            Stage.equal(found.size(), 500);
            for (String key : found) {
                String value = "value " + key.substring("java:".length()) + "x".repeat(400);
                Stage.equal(client.get(key), value);
            }
            long left = client.ttl("java:7");
            Stage.check(left > 3500 && left <= 3600, left);
            Stage.equal(client.unlink(found.toArray(new String[0])), 500L);
        }
    }

    /** Some of the idle connections may still be from before the restart. */
    private static ScanResult<String> scan(JedisPooled client, String cursor) {
        try {
            return client.scan(cursor, new ScanParams().match("java:*").count(100));
        } catch (JedisConnectionException stale) {
            return client.scan(cursor, new ScanParams().match("java:*").count(100));
        }
    }

    static void collectionsAndTransactions(RedisProtocol protocol) {
        try (Jedis client = connect(protocol); Jedis rival = connect(protocol)) {
            client.hset("profile", Map.of("name", "Ada", "visits", "3"));
            client.zadd("board", Map.of("a", 1.5, "b", 2.0, "c", 3.0));
            client.sadd("tags", "red", "green");
            Stage.direct("chill");
            Stage.equal(client.hgetAll("profile"), new HashMap<>(Map.of("name", "Ada", "visits", "3")));
            Stage.equal(client.zrevrange("board", 0, 1), List.of("c", "b"));
            Stage.equal(client.zscore("board", "a"), 1.5);
            Stage.equal(client.smembers("tags"), Set.of("red", "green"));
            client.watch("profile");
            rival.hincrBy("profile", "visits", 1);
            Transaction lost = client.multi();
            lost.hset("profile", "visits", "0");
            Stage.equal(lost.exec(), null);
            Transaction transaction = client.multi();
            Response<Long> visits = transaction.hincrBy("profile", "visits", 1);
            Response<Double> score = transaction.zincrby("board", 10, "a");
            Stage.equal(transaction.exec().size(), 2);
            Stage.equal(visits.get(), 5L);
            Stage.equal(score.get(), 11.5);
            String script = "return {KEYS[1], ARGV[1], redis.call('HGET', KEYS[1], ARGV[1])}";
            Stage.equal(client.eval(script, 1, "profile", "name"), List.of("profile", "name", "Ada"));
            String digest = client.scriptLoad(script);
            Stage.equal(client.evalsha(digest, 1, "profile", "name"), List.of("profile", "name", "Ada"));
            client.scriptFlush();
            try {
                client.evalsha(digest, 1, "profile", "name");
                throw new AssertionError("a flushed script was found");
            } catch (JedisNoScriptException expected) {
                Stage.equal(client.del("profile", "board", "tags"), 3L);
            }
        }
    }

    static void blockingAndMessages(RedisProtocol protocol) throws Exception {
        try (Jedis client = connect(protocol); Jedis waiting = connect(protocol); Jedis listening = connect(protocol)) {
            CompletableFuture<List<String>> popped = CompletableFuture.supplyAsync(() -> waiting.blpop(15, "inbox", "outbox"));
            Stage.waitUntil("it waits", () -> client.info("clients").contains("blocked_clients:1\r"));
            client.rpush("outbox", "letter");
            Stage.equal(popped.get(20, TimeUnit.SECONDS), List.of("outbox", "letter"));
            BlockingQueue<String> received = new LinkedBlockingQueue<>();
            JedisPubSub listener = new JedisPubSub() {
                @Override
                public void onMessage(String channel, String text) {
                    received.add(channel + "=" + text);
                }

                @Override
                public void onPMessage(String pattern, String channel, String text) {
                    received.add(pattern + "=" + channel + "=" + text);
                }

                @Override
                public void onSubscribe(String channel, int count) {
                    psubscribe("sport.*");
                }
            };
            CompletableFuture<Void> loop = CompletableFuture.runAsync(() -> listening.subscribe(listener, "news"));
            Stage.waitUntil("it listens", () -> client.publish("sport.golf", "one") == 1);
            Stage.equal(client.publish("news", "two"), 1L);
            Stage.equal(received.poll(20, TimeUnit.SECONDS), "sport.*=sport.golf=one");
            Stage.equal(received.poll(20, TimeUnit.SECONDS), "news=two");
            listener.punsubscribe();
            listener.unsubscribe();
            loop.get(20, TimeUnit.SECONDS);
        }
    }

    static void stream(RedisProtocol protocol) {
        try (Jedis client = connect(protocol)) {
            List<StreamEntryID> ids = new ArrayList<>();
            for (int number = 0; number < 100; number++) {
                ids.add(client.xadd("clicks", StreamEntryID.NEW_ENTRY, Map.of("number", String.valueOf(number))));
            }
            client.xgroupCreate("clicks", "readers", new StreamEntryID(0, 0), false);
            Stage.direct("chill");
            int seen = 0;
            while (seen < 100) {
                List<Map.Entry<String, List<StreamEntry>>> reply = client.xreadGroup("readers", "one",
                        XReadGroupParams.xReadGroupParams().count(30).block(1000),
                        Map.of("clicks", StreamEntryID.XREADGROUP_UNDELIVERED_ENTRY));
                for (StreamEntry entry : reply.get(0).getValue()) {
                    Stage.equal(entry.getID(), ids.get(seen));
                    Stage.equal(entry.getFields(), Map.of("number", String.valueOf(seen++)));
                }
            }
            Stage.equal(client.xpending("clicks", "readers").getTotal(), 100L);
            Stage.equal(client.xack("clicks", "readers", ids.toArray(new StreamEntryID[0])), 100L);
            Stage.equal(client.xpending("clicks", "readers").getTotal(), 0L);
            Stage.equal(client.del("clicks"), 1L);
        }
    }
}
