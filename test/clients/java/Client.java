import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.tikv.common.BytePairWrapper;
import org.tikv.common.ByteWrapper;
import org.tikv.common.TiConfiguration;
import org.tikv.common.TiSession;
import org.tikv.common.util.BackOffer;
import org.tikv.common.util.ConcreteBackOffer;
import org.tikv.kvproto.Kvrpcpb.KvPair;
import org.tikv.raw.RawKVClient;
import org.tikv.shade.com.google.protobuf.ByteString;
import org.tikv.txn.KVClient;
import org.tikv.txn.TwoPhaseCommitter;

/**
 * Runs the calls of tikv-client-java, Java's client of TiKV, and prints one line for each:
 *
 * <pre>Client txn|raw PD [CA CERT KEY]</pre>
 *
 * The lines hold nothing that differs from run to run, so those of two clusters can be compared.
 */
public final class Client {
  private static final int MANY = 300;
  private static final int BACK_OFF_MS = 5000;
  private static final int LIMIT_MS = 60_000;

  public static void main(String[] args) throws Exception {
    boolean raw = args[0].equals("raw");
    TiConfiguration config = raw ? TiConfiguration.createRawDefault(args[1]) : TiConfiguration.createDefault(args[1]);
    config.setEnableAtomicForCAS(true);
    // The client's own limits are short: on a busy machine they would decide what is printed.
    config.setTimeout(LIMIT_MS);
    config.setRawKVReadTimeoutInMS(LIMIT_MS);
    config.setRawKVWriteTimeoutInMS(LIMIT_MS);
    config.setRawKVBatchReadTimeoutInMS(LIMIT_MS);
    config.setRawKVBatchWriteTimeoutInMS(LIMIT_MS);
    config.setRawKVScanTimeoutInMS(LIMIT_MS);
    config.setRawKVCleanTimeoutInMS(LIMIT_MS);
    if (args.length == 5) {
      config.setTlsEnable(true);
      config.setTrustCertCollectionFile(args[2]);
      config.setKeyCertChainFile(args[3]);
      config.setKeyFile(args[4]);
    }
    try (TiSession session = TiSession.create(config)) {
      if (raw) raw(session.createRawClient());
      else txn(session);
    }
    // Threads of its own outlive a session.
    System.exit(0);
  }

  private static void raw(RawKVClient client) {
    show("scan at first", () -> pairs(client.scan(bytes(""), 5)));
    show("put", () -> done(() -> client.put(bytes("a"), bytes("1"))));
    show("get", () -> text(client.get(bytes("a"))));
    show("get absent", () -> text(client.get(bytes("absent"))));
    Map<ByteString, ByteString> many = new LinkedHashMap<>();
    for (String key : many()) many.put(bytes(key), bytes("v"));
    show("batch put", () -> done(() -> client.batchPut(many)));
    show("batch get", () -> sorted(client.batchGet(three())));
    show("scan", () -> pairs(client.scan(bytes("a"), bytes("many0004"), 10)));
    show("scan keys", () -> pairs(client.scan(bytes("many"), 3, true)));
    show("scan of a prefix", () -> pairs(client.scanPrefix(bytes("many000"))));
    show("put with ttl", () -> done(() -> client.put(bytes("brief"), bytes("1"), 1000)));
    show("ttl", () -> client.getKeyTTL(bytes("brief")).map((ttl) -> ttl > 900 && ttl <= 1000));
    show("delete", () -> done(() -> client.delete(bytes("a"))));
    show("delete range", () -> done(() -> client.deleteRange(bytes("many0000"), bytes("many0100"))));
    show("scan after", () -> pairs(client.scan(bytes("many"), 2)));
    show("delete prefix", () -> done(() -> client.deletePrefix(bytes("many01"))));
    show("batch delete", () -> done(() -> client.batchDelete(new ArrayList<>(many.keySet()))));
    show("scan at last", () -> pairs(client.scan(bytes(""), 5)));
    show("put if absent", () -> text(client.putIfAbsent(bytes("cas"), bytes("1"))));
    show("put if absent, too late", () -> text(client.putIfAbsent(bytes("cas"), bytes("x"))));
    show("cas", () -> done(() -> client.compareAndSet(bytes("cas"), Optional.of(bytes("1")), bytes("2"))));
    showRefusal("cas too late", () -> client.compareAndSet(bytes("cas"), Optional.of(bytes("1")), bytes("3")));
    show("get after cas", () -> text(client.get(bytes("cas"))));
  }

  private static void txn(TiSession session) throws Exception {
    try (KVClient client = session.createKVClient()) {
      // In the last region, a scan without an end finds nothing, so each has one.
      show("scan at first", () -> pairs(client.scan(bytes(""), bytes("z"), now(session))));
      commit(session, "commit", "1", "a", many());
      show("get", () -> client.get(bytes("a"), now(session)).toStringUtf8());
      show("get absent", () -> client.get(bytes("absent"), now(session)).toStringUtf8());
      show("batch get", () -> sorted(client.batchGet(backOff(), three(), now(session))));
      show("scan", () -> pairs(client.scan(bytes("a"), bytes("many0004"), now(session))));
      show("scan to the last", () -> pairs(client.scan(bytes("many0297"), bytes("z"), now(session))));

      long before = now(session);
      commit(session, "commit of the first", "first", "a", List.of());
      showRefusal("the second meets a conflict", () -> prewrite(session, before, "second", "a"));
      show("get after the conflict", () -> client.get(bytes("a"), now(session)).toStringUtf8());
      show("get before it", () -> client.get(bytes("a"), before).toStringUtf8());

      long left = now(session);
      show("prewrite that nobody commits", () -> done(() -> prewrite(session, left, "lost", "a").close()));
      show("get behind its lock", () -> client.get(bytes("a"), now(session)).toStringUtf8());
      show("scan at last", () -> pairs(client.scan(bytes(""), bytes("many0003"), now(session))));
    }
  }

  private static void commit(TiSession session, String what, String value, String primary, List<String> others) {
    show(what, () -> done(() -> {
      try (TwoPhaseCommitter committer = prewrite(session, now(session), value, primary)) {
        Iterator<BytePairWrapper> pairs =
            others.stream().map((key) -> new BytePairWrapper(raw(key), raw("v"))).iterator();
        committer.prewriteSecondaryKeys(raw(primary), pairs, BACK_OFF_MS);
        long at = now(session);
        committer.commitPrimaryKey(backOff(), raw(primary), at);
        committer.commitSecondaryKeys(others.stream().map((key) -> new ByteWrapper(raw(key))).iterator(), at, BACK_OFF_MS);
      }
    }));
  }

  private static TwoPhaseCommitter prewrite(TiSession session, long start, String value, String primary) {
    // Its lock ends by itself: whoever meets it must not wait for a minute.
    TwoPhaseCommitter committer = new TwoPhaseCommitter(session, start, 500);
    committer.prewritePrimaryKey(backOff(), raw(primary), raw(value));
    return committer;
  }

  /** Prints what a call gives, or that it failed. */
  private static void show(String what, Callable<Object> call) {
    Object result;
    try {
      result = call.call();
    } catch (Exception failure) {
      result = "failed: " + kindOf(failure);
    }
    System.out.println(what + ": " + result);
  }

  /** Prints why a call that must not succeed was refused. */
  private static void showRefusal(String what, Action call) {
    try {
      call.run();
      System.out.println(what + ": failed: it succeeded");
    } catch (Exception refusal) {
      System.out.println(what + ": " + kindOf(refusal));
    }
  }

  /** Texts of failures name regions and timestamps, and their causes depend on how often the client has tried: their kinds do not. */
  private static String kindOf(Exception failure) {
    return failure.getClass().getSimpleName();
  }

  private interface Action {
    void run() throws Exception;
  }

  private static Object done(Action action) throws Exception {
    action.run();
    return "done";
  }

  private static long now(TiSession session) {
    return session.getTimestamp().getVersion();
  }

  private static BackOffer backOff() {
    return ConcreteBackOffer.newCustomBackOff(BACK_OFF_MS);
  }

  private static List<String> many() {
    return IntStream.range(0, MANY).mapToObj((n) -> String.format("many%04d", n)).collect(Collectors.toList());
  }

  /** The client sorts what it is given. */
  private static List<ByteString> three() {
    return new ArrayList<>(List.of(bytes("a"), bytes("many0001"), bytes("b")));
  }

  private static String text(Optional<ByteString> value) {
    return value.map(ByteString::toStringUtf8).orElse("none");
  }

  private static List<String> sorted(List<KvPair> pairs) {
    return pairs(pairs).stream().sorted(Comparator.naturalOrder()).collect(Collectors.toList());
  }

  private static List<String> pairs(List<KvPair> pairs) {
    return pairs.stream()
        .map((pair) -> pair.getKey().toStringUtf8() + "=" + pair.getValue().toStringUtf8())
        .collect(Collectors.toList());
  }

  private static ByteString bytes(String text) {
    return ByteString.copyFromUtf8(text);
  }

  private static byte[] raw(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }
}
