// The files of report_page/, as the build put them into the library.

#ifndef OCTET_SERVER_BUNDLE_REPORT_PAGE_PARTS_H_
#define OCTET_SERVER_BUNDLE_REPORT_PAGE_PARTS_H_

namespace octet::bundle {

extern const char* const kReportHtml;  // with {{places}} to fill
extern const char* const kReportStyle;
extern const char* const kReportScript;  // all .js, one after the other

}  // namespace octet::bundle

#endif  // OCTET_SERVER_BUNDLE_REPORT_PAGE_PARTS_H_
