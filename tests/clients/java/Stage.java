import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.Objects;
import java.util.function.BooleanSupplier;

/** Where the server is, the stage that can be directed, and the checks of the scenarios. */
final class Stage {
    static final String HOST = "127.0.0.1";
    static final int PORT = Integer.parseInt(System.getenv("LARDER_PORT"));
    static final String PASSWORD = System.getenv("LARDER_PASSWORD");
    static final int REPLY_MS = 20_000;

    private Stage() {}

    /** Tells the stage to "chill" the keys, "clean" up or "restart" the server. */
    static void direct(String order) {
        int port = Integer.parseInt(System.getenv("LARDER_CONTROL_PORT"));
        try (Socket socket = new Socket()) {
            socket.connect(new InetSocketAddress(HOST, port), REPLY_MS);
            socket.setSoTimeout(60_000);
            socket.getOutputStream().write((order + "\n").getBytes(StandardCharsets.UTF_8));
            InputStreamReader reader = new InputStreamReader(socket.getInputStream(), StandardCharsets.UTF_8);
            equal(new BufferedReader(reader).readLine(), "ok");
        } catch (IOException problem) {
            throw new UncheckedIOException(problem);
        }
    }

    static void equal(Object found, Object expected) {
        if (!Objects.equals(found, expected)) {
            throw new AssertionError("expected " + expected + ", found " + found);
        }
    }

    static void check(boolean condition, Object what) {
        if (!condition) {
            throw new AssertionError(what);
        }
    }

    static void waitUntil(String what, BooleanSupplier condition) {
        long end = System.nanoTime() + REPLY_MS * 1_000_000L;
        while (!condition.getAsBoolean()) {
            check(System.nanoTime() < end, "waited in vain: " + what);
            try {
                Thread.sleep(10);
            } catch (InterruptedException interrupted) {
                throw new AssertionError(interrupted);
            }
        }
    }
}
