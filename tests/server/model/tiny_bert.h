// A BERT of two layers, width 8, two heads, with random weights.

#ifndef OCTET_TESTS_SERVER_MODEL_TINY_BERT_H_
#define OCTET_TESTS_SERVER_MODEL_TINY_BERT_H_

#include <string>

#include "server/model/importer.h"
#include "tests/server/model/memory_tensors.h"

namespace octet::model {

MemoryTensors TinyBertTensors(const std::string& prefix = "");
ConfigFiles TinyBertConfig();

// TinyBertConfig with `pattern` in config.json replaced.
ConfigFiles TinyBertConfigWith(const std::string& pattern,
                               const std::string& replacement);

// Adds modules.json and 1_Pooling/config.json: mean pooling, normalized.
ConfigFiles WithSentencePooling(ConfigFiles files);

}  // namespace octet::model

#endif  // OCTET_TESTS_SERVER_MODEL_TINY_BERT_H_
