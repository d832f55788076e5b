#include "api/control_request.h"

#include "api/machine_record.h"

namespace doppel {
namespace {

using nlohmann::json;

constexpr int deepest = 16;  // objects in objects

/// Values that are nested deeper are left away, before they are made.
json parse(std::string_view text) {
  const auto shallow = [](int depth, json::parse_event_t, json&) { return depth <= deepest; };
  return json::parse(text, shallow, false);
}

Result<ControlRequest> parse_request(std::string_view line) {
  auto object = parse(line);
  if (!object.is_object()) return error("the request is not an object of JSON on one line");
  const auto verb = object.find("do");
  if (verb == object.end() || !verb->is_string()) return error("the request does not say what to do");
  ControlRequest request;
  request.verb = verb->get<std::string>();
  request.arguments = std::move(object);
  return request;
}

}  // namespace

Result<std::uint64_t> ControlRequest::number(const char* name, std::uint64_t least, std::uint64_t most) const {
  const auto found = arguments.find(name);
  if (found != arguments.end() && found->is_number_unsigned())
    if (const auto value = found->get<std::uint64_t>(); value >= least && value <= most) return value;
  return error("the request needs {}, a whole number from {} to {}", name, least, most);
}

Result<std::optional<ControlRequest>> RequestReader::add(std::span<const std::byte> bytes,
                                                         std::vector<FileDescriptor> descriptors) {
  for (auto& descriptor : descriptors) descriptors_.push_back(std::move(descriptor));
  if (descriptors_.size() > ControlRequest::most_descriptors)
    return error("a request may bring {} descriptors at most", ControlRequest::most_descriptors);
  const auto from = line_.size();
  line_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const auto end = line_.find('\n', from);
  if (std::min(end, line_.size()) > longest_line)
    return error("the request's line is longer than {} bytes", longest_line);
  if (end == line_.npos) return std::optional<ControlRequest>();
  auto request = parse_request(std::string_view(line_).substr(0, end));
  line_.erase(0, end + 1);
  if (!request) return request.failure();
  request->descriptors = std::move(descriptors_);
  return std::optional(*std::move(request));
}

std::string answer_line(const Result<json>& answer) {
  json line = answer && answer->is_object() ? *answer : json::object();
  line["ok"] = answer.ok();
  if (!answer) line["error"] = answer.message();
  return line.dump(-1, ' ', true, json::error_handler_t::replace) + "\n";
}

Result<json> parse_answer(std::string_view line) {
  auto object = parse(line);
  const auto ok = object.is_object() ? object.find("ok") : object.end();
  if (!object.is_object() || ok == object.end() || !ok->is_boolean())
    return error("the machine's answer cannot be understood: is its doppel another version?");
  if (ok->get<bool>()) return object;
  const auto why = object.find("error");
  return Error{why != object.end() && why->is_string() ? printable_text(why->get<std::string>())
                                                       : "the machine refuses"};
}

}  // namespace doppel
