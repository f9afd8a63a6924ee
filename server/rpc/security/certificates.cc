#include "server/rpc/security/certificates.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <ctime>
#include <memory>

#include "absl/time/clock.h"
#include "kernels/status_macros.h"
#include "server/model/str_cat.h"
#include "server/rpc/security/text_file.h"

namespace octet::rpc {
namespace {

using model::StrCat;

struct Free {
  void operator()(BIO* bio) const { BIO_free(bio); }
  void operator()(X509* certificate) const { X509_free(certificate); }
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
using Bio = std::unique_ptr<BIO, Free>;
using X509Ptr = std::unique_ptr<X509, Free>;
using KeyPtr = std::unique_ptr<EVP_PKEY, Free>;

// OpenSSL would ask on the terminal.
int NoPassword(char* /*buffer*/, int /*size*/, int /*writing*/,
               void* /*data*/) {
  return 0;
}

Bio Open(const std::string& pem) {
  return Bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
}

// `what` is wrong with a file. Never says what is in it.
absl::Status FileError(const std::string& file, std::string_view what) {
  ERR_clear_error();
  return absl::InvalidArgumentError(StrCat("'", file, "' ", what));
}

absl::StatusOr<X509Ptr> FirstCertificate(const std::string& file,
                                         const std::string& pem) {
  X509Ptr certificate(
      PEM_read_bio_X509(Open(pem).get(), nullptr, NoPassword, nullptr));
  if (certificate == nullptr) {
    return FileError(file, "holds no certificate in PEM form");
  }
  return certificate;
}

absl::Time ExpiryOf(const X509& certificate) {
  tm parts{};
  ASN1_TIME_to_tm(X509_get0_notAfter(&certificate), &parts);
  return absl::FromTM(parts, absl::UTCTimeZone());
}

std::string SubjectOf(const X509& certificate) {
  const Bio out(BIO_new(BIO_s_mem()));
  X509_NAME_print_ex(out.get(), X509_get_subject_name(&certificate), 0,
                     XN_FLAG_RFC2253);
  char* text = nullptr;
  const long size = BIO_get_mem_data(out.get(), &text);  // NOLINT(google-*)
  return {text, static_cast<size_t>(size)};
}

}  // namespace

absl::StatusOr<Certificates> LoadCertificates(const CertificateFiles& files) {
  Certificates result;
  ASSIGN_OR_RETURN(result.chain, ReadTextFile(files.chain));
  ASSIGN_OR_RETURN(result.key, ReadTextFile(files.key));
  ASSIGN_OR_RETURN(const X509Ptr own,
                   FirstCertificate(files.chain, result.chain));
  const KeyPtr key(PEM_read_bio_PrivateKey(Open(result.key).get(), nullptr,
                                           NoPassword, nullptr));
  if (key == nullptr) {
    return FileError(files.key,
                     "holds no private key in PEM form, or one with "
                     "a password");
  }
  if (X509_check_private_key(own.get(), key.get()) != 1) {
    return FileError(files.key, StrCat("is not the key of the certificate in '",
                                       files.chain, "'"));
  }
  result.expiry = ExpiryOf(*own);
  result.subject = SubjectOf(*own);
  if (result.expiry <= absl::Now()) {
    return FileError(files.chain, StrCat("has expired on ",
                                         absl::FormatTime(result.expiry)));
  }
  if (!files.client_ca.empty()) {
    ASSIGN_OR_RETURN(result.client_ca, ReadTextFile(files.client_ca));
    RETURN_IF_ERROR(
        FirstCertificate(files.client_ca, result.client_ca).status());
  }
  return result;
}

}  // namespace octet::rpc
