// Boost.Beast as the client, sync or async: beast_client PORT CA MESSAGES sync|async [latency]
#include <boost/asio/connect.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/ssl.hpp>
#include <boost/beast/websocket.hpp>
#include <boost/beast/websocket/ssl.hpp>
#include <cstring>
#include <functional>

#include "tests/bench/report.h"

namespace asio = boost::asio;
namespace beast = boost::beast;
using stream = beast::websocket::stream<asio::ssl::stream<asio::ip::tcp::socket>>;

static bool take(bench_report &report, beast::flat_buffer &buffer)
{
    auto data = buffer.data();
    bool last = bench_report_message(&report, static_cast<const char *>(data.data()), data.size());
    buffer.consume(buffer.size());
    return last;
}

int main(int argc, char **argv)
{
    if (argc < 5)
        return 2;
    bool async = !std::strcmp(argv[4], "async");
    asio::io_context loop{1};
    asio::ssl::context tls{asio::ssl::context::tls_client};
    tls.set_verify_mode(asio::ssl::verify_peer);
    tls.load_verify_file(argv[2]);
    stream peer{loop, tls};
    asio::ip::tcp::endpoint address{asio::ip::address_v4::loopback(),
                                    static_cast<unsigned short>(std::strtol(argv[1], nullptr, 10))};
    beast::get_lowest_layer(peer).connect(address);
    SSL_set_tlsext_host_name(peer.next_layer().native_handle(), "localhost");
    peer.next_layer().set_verify_callback(asio::ssl::host_name_verification("localhost"));
    peer.next_layer().handshake(asio::ssl::stream_base::client);
    peer.read_message_max(16 << 20);
    peer.handshake("localhost", "/stream");
    bench_report report;
    bench_report_begin(&report, async ? "Boost.Beast async" : "Boost.Beast sync",
                       std::strtoull(argv[3], nullptr, 10), argc > 5);
    beast::flat_buffer buffer;
    if (!async) {
        do
            peer.read(buffer);
        while (!take(report, buffer));
    } else {
        std::function<void(beast::error_code, std::size_t)> on_read =
            [&](beast::error_code error, std::size_t) {
                if (error)
                    std::exit(1);
                if (!take(report, buffer))
                    peer.async_read(buffer, [&](beast::error_code e, std::size_t n) { on_read(e, n); });
            };
        peer.async_read(buffer, [&](beast::error_code e, std::size_t n) { on_read(e, n); });
        loop.run();
    }
    bench_report_end(&report);
    std::_Exit(0);
}
