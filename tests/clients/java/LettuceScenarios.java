import io.lettuce.core.KeyValue;
import io.lettuce.core.LettuceFutures;
import io.lettuce.core.RedisClient;
import io.lettuce.core.RedisFuture;
import io.lettuce.core.RedisURI;
import io.lettuce.core.ScanArgs;
import io.lettuce.core.ScanIterator;
import io.lettuce.core.ScoredValue;
import io.lettuce.core.ScriptOutputType;
import io.lettuce.core.TransactionResult;
import io.lettuce.core.api.StatefulRedisConnection;
import io.lettuce.core.api.async.RedisAsyncCommands;
import io.lettuce.core.api.sync.RedisCommands;
import io.lettuce.core.pubsub.RedisPubSubAdapter;
import io.lettuce.core.pubsub.StatefulRedisPubSubConnection;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/** Lettuce, the asynchronous client: one connection for all, RESP3 when the server has it, and it connects again by itself. */
final class LettuceScenarios {
    private LettuceScenarios() {}

    private static RedisClient client() {
        RedisURI address = RedisURI.Builder.redis(Stage.HOST, Stage.PORT).withPassword(Stage.PASSWORD.toCharArray())
                .withTimeout(Duration.ofMillis(Stage.REPLY_MS)).build();
        return RedisClient.create(address);
    }

    /** A thousand commands in flight on one connection; after a SIGKILL the same connection goes on. */
    static void asynchronous() {
        RedisClient client = client();
        try (StatefulRedisConnection<String, String> connection = client.connect()) {
            RedisAsyncCommands<String, String> commands = connection.async();
            List<RedisFuture<?>> replies = new ArrayList<>();
            for (int number = 0; number < 1000; number++) {
                replies.add(commands.setex("lettuce:" + number, 3600, "v".repeat(300) + number));
            }
            Stage.check(LettuceFutures.awaitAll(Duration.ofSeconds(20), replies.toArray(new RedisFuture<?>[0])), "all is set");
            Stage.direct("chill");
            Stage.direct("restart");
            RedisCommands<String, String> one = connection.sync();
            ScanIterator<String> keys = ScanIterator.scan(one, ScanArgs.Builder.matches("lettuce:*").limit(200));
            List<String> found = keys.stream().toList();
            Stage.equal(found.stream().distinct().count(), 1000L);
            for (KeyValue<String, String> pair : one.mget(found.toArray(new String[0]))) {
                Stage.equal(pair.getValue(), "v".repeat(300) + pair.getKey().substring("lettuce:".length()));
            }
            Stage.equal(one.del(found.stream().distinct().toArray(String[]::new)), 1000L);
        } finally {
            client.shutdown(Duration.ZERO, Duration.ofSeconds(2));
        }
    }

    static void transactionsAndScripts() {
        RedisClient client = client();
        try (StatefulRedisConnection<String, String> connection = client.connect();
                StatefulRedisConnection<String, String> other = client.connect()) {
            RedisCommands<String, String> commands = connection.sync();
            commands.hset("profile", Map.of("name", "Ada", "visits", "3"));
            commands.zadd("board", 1.5, "a", 2.0, "b");
            Stage.direct("chill");
            Stage.equal(commands.hgetall("profile"), Map.of("name", "Ada", "visits", "3"));
            Stage.equal(commands.zrevrangeWithScores("board", 0, -1), List.of(ScoredValue.just(2, "b"), ScoredValue.just(1.5, "a")));
            commands.watch("profile");
            other.sync().hincrby("profile", "visits", 1);
            commands.multi();
            commands.hset("profile", "visits", "0");
            Stage.check(commands.exec().wasDiscarded(), "a watched key was changed");
            commands.multi();
            commands.hincrby("profile", "visits", 1);
            commands.zincrby("board", 10, "a");
            TransactionResult result = commands.exec();
            Stage.equal(List.of(result.get(0), result.get(1)), List.of(5L, 11.5));
            String script = "redis.call('SET', KEYS[1], ARGV[1]) return redis.call('STRLEN', KEYS[1])";
            Stage.equal(commands.eval(script, ScriptOutputType.INTEGER, new String[] {"scripted"}, "four"), 4L);
            String digest = commands.scriptLoad(script);
            Stage.equal(commands.evalsha(digest, ScriptOutputType.INTEGER, new String[] {"scripted"}, "fifth"), 5L);
            Stage.equal(commands.del("profile", "board", "scripted"), 3L);
        } finally {
            client.shutdown(Duration.ZERO, Duration.ofSeconds(2));
        }
    }

    static void blockingAndMessages() throws Exception {
        RedisClient client = client();
        try (StatefulRedisConnection<String, String> connection = client.connect();
                StatefulRedisConnection<String, String> waiting = client.connect();
                StatefulRedisPubSubConnection<String, String> listening = client.connectPubSub()) {
            RedisCommands<String, String> commands = connection.sync();
            RedisFuture<KeyValue<String, String>> popped = waiting.async().blpop(15, "inbox", "outbox");
            Stage.waitUntil("it waits", () -> commands.info("clients").contains("blocked_clients:1\r"));
            commands.rpush("outbox", "letter");
            Stage.equal(popped.get(20, TimeUnit.SECONDS), KeyValue.just("outbox", "letter"));
            BlockingQueue<String> received = new LinkedBlockingQueue<>();
            listening.addListener(new RedisPubSubAdapter<String, String>() {
                @Override
                public void message(String channel, String text) {
                    received.add(channel + "=" + text);
                }

                @Override
                public void message(String pattern, String channel, String text) {
                    received.add(pattern + "=" + channel + "=" + text);
                }
            });
            listening.sync().subscribe("news");
            listening.sync().psubscribe("sport.*");
            Stage.equal(commands.publish("news", "one"), 1L);
            Stage.equal(commands.publish("sport.golf", "two"), 1L);
            Stage.equal(received.poll(20, TimeUnit.SECONDS), "news=one");
            Stage.equal(received.poll(20, TimeUnit.SECONDS), "sport.*=sport.golf=two");
            // Subscribed anew after a restart, without a word from us.
            Stage.direct("restart");
            Stage.waitUntil("it listens again", () -> commands.publish("news", "again") == 1);
            Stage.equal(received.poll(20, TimeUnit.SECONDS), "news=again");
        } finally {
            client.shutdown(Duration.ZERO, Duration.ofSeconds(2));
        }
    }
}
