# A turn by Ruby's gRPC: client.rb ADDRESS PCM_FILE REQUEST... (hexadecimal) -> facts, one a line.
require "grpc"
require "qwentts/v1/tts_services_pb"

address, pcm, *requests = ARGV
stub = Qwentts::V1::TTSService::Stub.new(address, :this_channel_is_insecure)
messages = requests.map { |request| Qwentts::V1::SynthesizeRequest.decode([request].pack("H*")) }
call = stub.synthesize(messages, deadline: Time.now + 30, return_op: true)
code = 0
File.open(pcm, "wb") do |audio|
  call.execute.each { |response| audio.write(response.audio.data) if response.audio }
rescue GRPC::BadStatus => error
  code = error.code
end
puts "code #{code}"
call.trailing_metadata.each do |key, value|
  puts "#{key} #{key.end_with?("-bin") ? value.unpack1("H*") : value}"
end
