import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import redis.clients.jedis.RedisProtocol;

/** Runs all scenarios of Java with one line before and after each, for the driver. */
public final class Main {
    private static final int SCENARIO_SECONDS = 60;

    private Main() {}

    /** A scenario; it fails by throwing. */
    private interface Scenario {
        void run() throws Exception;
    }

    private static Map<String, Scenario> scenarios() {
        Map<String, Scenario> all = new LinkedHashMap<>();
        for (RedisProtocol protocol : new RedisProtocol[] {RedisProtocol.RESP2, RedisProtocol.RESP3}) {
            String suffix = "_" + protocol.name().toLowerCase(java.util.Locale.ROOT);
            all.put("jedis_cache" + suffix, () -> JedisScenarios.cache(protocol));
            all.put("jedis_collections" + suffix, () -> JedisScenarios.collectionsAndTransactions(protocol));
            all.put("jedis_blocking_and_messages" + suffix, () -> JedisScenarios.blockingAndMessages(protocol));
            all.put("jedis_stream" + suffix, () -> JedisScenarios.stream(protocol));
        }
        all.put("lettuce_asynchronous", LettuceScenarios::asynchronous);
        all.put("lettuce_transactions_and_scripts", LettuceScenarios::transactionsAndScripts);
        all.put("lettuce_blocking_and_messages", LettuceScenarios::blockingAndMessages);
        return all;
    }

    /** The line of ours in which an error arose. */
    private static String place(Throwable problem) {
        for (StackTraceElement frame : problem.getStackTrace()) {
            if (frame.getClassName().endsWith("Scenarios")) {
                return frame.getFileName() + ":" + frame.getLineNumber();
            }
        }
        return "?";
    }

    private static boolean run(String name, Scenario scenario, ExecutorService threads) {
        System.out.println("RUN " + name);
        Callable<Void> task = () -> {
            Stage.direct("clean");
            scenario.run();
            return null;
        };
        try {
            threads.submit(task).get(SCENARIO_SECONDS, TimeUnit.SECONDS);
            System.out.println("OK " + name);
            return true;
        } catch (Exception failure) {
            Throwable problem = failure.getCause() == null ? failure : failure.getCause();
            problem.printStackTrace();
            System.out.println("FAILED " + (name + ": " + place(problem) + ": " + problem).replace('\n', ' '));
            return false;
        }
    }

    /** Exits with 1 if a scenario failed. */
    public static void main(String[] arguments) {
        String wanted = System.getenv().getOrDefault("LARDER_ONLY", "");
        ExecutorService threads = Executors.newCachedThreadPool();
        boolean good = true;
        for (Map.Entry<String, Scenario> entry : scenarios().entrySet()) {
            if (entry.getKey().contains(wanted)) {
                good &= run(entry.getKey(), entry.getValue(), threads);
            }
        }
        System.exit(good ? 0 : 1);
    }
}
