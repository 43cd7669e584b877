// A turn by gRPC's C++: client ADDRESS PCM_FILE REQUEST... (hexadecimal) -> facts, one a line.
#include <chrono>
#include <fstream>
#include <iostream>
#include <string>

#include <grpcpp/grpcpp.h>

#include "qwentts/v1/tts.grpc.pb.h"

static std::string unhex(const std::string& text) {
  std::string bytes;
  for (size_t i = 0; i + 1 < text.size(); i += 2) bytes += static_cast<char>(std::stoi(text.substr(i, 2), nullptr, 16));
  return bytes;
}

static std::string hex(const std::string& bytes) {
  static const char digits[] = "0123456789abcdef";
  std::string text;
  for (unsigned char byte : bytes) text += {digits[byte >> 4], digits[byte & 15]};
  return text;
}

int main(int count, char** arguments) {
  auto channel = grpc::CreateChannel(arguments[1], grpc::InsecureChannelCredentials());
  auto stub = qwentts::v1::TTSService::NewStub(channel);
  std::ofstream audio(arguments[2], std::ios::binary);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
  auto call = stub->Synthesize(&context);
  for (int i = 3; i < count; i++) {
    qwentts::v1::SynthesizeRequest request;
    if (!request.ParseFromString(unhex(arguments[i]))) return 1;
    if (!call->Write(request)) break;  // the status is on its way
  }
  call->WritesDone();
  qwentts::v1::SynthesizeResponse response;
  while (call->Read(&response)) audio << response.audio().data();
  grpc::Status status = call->Finish();
  std::cout << "code " << status.error_code() << "\n";
  for (const auto& [key, value] : context.GetServerTrailingMetadata()) {
    std::string name(key.data(), key.size()), text(value.data(), value.size());
    bool binary = name.size() > 4 && name.substr(name.size() - 4) == "-bin";
    std::cout << name << " " << (binary ? hex(text) : text) << "\n";
  }
}
