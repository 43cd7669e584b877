// A turn by grpc-go: client ADDRESS PCM_FILE REQUEST... (hexadecimal) -> facts, one a line.
package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/golang/protobuf/proto"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	tts "qwentts/v1"
)

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func main() {
	connection, err := grpc.Dial(os.Args[1], grpc.WithInsecure())
	check(err)
	defer connection.Close()
	audio, err := os.Create(os.Args[2])
	check(err)
	defer audio.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	call, err := tts.NewTTSServiceClient(connection).Synthesize(ctx)
	check(err)
	for _, request := range os.Args[3:] {
		data, err := hex.DecodeString(request)
		check(err)
		message := &tts.SynthesizeRequest{}
		check(proto.Unmarshal(data, message))
		if call.Send(message) != nil {
			break // the status is on its way
		}
	}
	call.CloseSend()
	response, err := call.Recv()
	for ; err == nil; response, err = call.Recv() {
		_, failed := audio.Write(response.GetAudio().GetData())
		check(failed)
	}
	code := 0 // io.EOF is a good end
	if failure, ok := status.FromError(err); ok {
		code = int(failure.Code())
		details, err := proto.Marshal(failure.Proto())
		check(err)
		fmt.Println("grpc-status-details-bin", hex.EncodeToString(details)) // grpc-go takes it out of the trailers
	}
	fmt.Println("code", code)
	for key, values := range call.Trailer() {
		fmt.Println(key, values[0])
	}
}
