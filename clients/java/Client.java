// A turn by grpc-java: Client ADDRESS PCM_FILE REQUEST... (hexadecimal) -> facts, one a line.
import io.grpc.CallOptions;
import io.grpc.ClientCall;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.Metadata;
import io.grpc.Status;
import io.qwentts.v1.SynthesizeRequest;
import io.qwentts.v1.SynthesizeResponse;
import io.qwentts.v1.TTSServiceGrpc;
import java.io.FileOutputStream;
import java.util.HexFormat;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

public class Client {
  public static void main(String[] arguments) throws Exception {
    ManagedChannel channel = ManagedChannelBuilder.forTarget(arguments[0]).usePlaintext().build();
    CountDownLatch closed = new CountDownLatch(1);
    try (FileOutputStream audio = new FileOutputStream(arguments[1])) {
      CallOptions options = CallOptions.DEFAULT.withDeadlineAfter(30, TimeUnit.SECONDS);
      ClientCall<SynthesizeRequest, SynthesizeResponse> call =
          channel.newCall(TTSServiceGrpc.getSynthesizeMethod(), options);
      call.start(
          new ClientCall.Listener<SynthesizeResponse>() {
            @Override
            public void onMessage(SynthesizeResponse response) {
              try {
                response.getAudio().getData().writeTo(audio);
              } catch (java.io.IOException error) {
                call.cancel("the file cannot be written", error);
              }
              call.request(1);
            }

            @Override
            public void onClose(Status status, Metadata trailers) {
              tell(status, trailers);
              closed.countDown();
            }
          },
          new Metadata());
      call.request(1);
      for (int i = 2; i < arguments.length; i++) {
        call.sendMessage(SynthesizeRequest.parseFrom(HexFormat.of().parseHex(arguments[i])));
      }
      call.halfClose();
      closed.await(30, TimeUnit.SECONDS);
    }
    channel.shutdownNow().awaitTermination(5, TimeUnit.SECONDS);
  }

  private static void tell(Status status, Metadata trailers) {
    System.out.println("code " + status.getCode().value());
    for (String key : trailers.keys()) {
      System.out.println(key + " " + value(trailers, key));
    }
  }

  private static String value(Metadata trailers, String key) {
    if (key.endsWith("-bin")) {
      return HexFormat.of().formatHex(trailers.get(Metadata.Key.of(key, Metadata.BINARY_BYTE_MARSHALLER)));
    }
    return trailers.get(Metadata.Key.of(key, Metadata.ASCII_STRING_MARSHALLER));
  }
}
