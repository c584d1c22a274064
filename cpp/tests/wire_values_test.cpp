#include "fleetmesh/wire_values.hpp"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "src/wire_json.hpp"

namespace fleetmesh::wire {
namespace {

constexpr std::string_view kIp =
    R"({"IP":"10.1.0.4","Mask":null,"HostIP":"192.0.2.1","ID":196608,"Key":255,"Metadata":"m","K8sNamespace":)"
    R"("shop","K8sPodName":"web-0","K8sServiceAccount":"web","NamedPorts":[{"Name":"http","Port":8080,)"
    R"("Protocol":"TCP"},{"Name":"","Port":0,"Protocol":"UDP"}]})";
constexpr std::string_view kService =
    R"({"cluster":"east","namespace":"shop","name":"web","frontends":{"10.96.0.1":{"http":{"Protocol":"TCP",)"
    R"("Port":80}}},"backends":{"10.1.0.4":{"":{"Protocol":"UDP","Port":53},"http":{"Protocol":"TCP",)"
    R"("Port":8080}},"10.1.0.5":{"":{"Protocol":"UDP","Port":53},"http":{"Protocol":"TCP","Port":8080}},)"
    R"("::ffff:10.1.0.6":{},"fd00::4":null},"hostnames":{"10.1.0.5":"h-1"},"zones":{"10.1.0.4":{"zone":"az-1",)"
    R"("forZones":[{"name":"az-1"},{"name":"az-2"}]},"10.1.0.5":{"zone":"az-2","forZones":null},"fd00::4":)"
    R"({"zone":"az-1","forZones":[{"name":"az-1"},{"name":"az-2"}]}},"labels":{"a":"b","c":""},"selector":null,)"
    R"("includeExternal":true,"shared":false,"clusterID":4294967295})";

std::string with(std::string_view before, std::string_view old, std::string_view other) {
  std::string value(before);
  const auto at = value.find(old);
  EXPECT_NE(at, std::string::npos) << old;
  return value.replace(at, old.size(), other);
}

bool reads_ip(std::string_view value) {
  IpValue read;
  return read_ip(value, read);
}

bool reads_service(std::string_view value) {
  ServiceValue read;
  return read_service(value, read);
}

TEST(WireValues, an_address_is_read_with_whose_it_is) {
  IpValue read;
  ASSERT_TRUE(read_ip(kIp, read));
  EXPECT_EQ(read.address, "10.1.0.4");
  EXPECT_EQ(read.host, "192.0.2.1");
  EXPECT_EQ(read.identity, 196608);
  EXPECT_EQ(read.key, 255);
  EXPECT_EQ(read.metadata, "m");
  EXPECT_EQ(read.space, "shop");
  EXPECT_EQ(read.pod, "web-0");
  EXPECT_EQ(read.service_account, "web");
  ASSERT_EQ(read.named_ports.size(), 2);
  EXPECT_EQ(read.named_ports[0].name, "http");
  EXPECT_EQ(read.named_ports[0].port, 8080);
  EXPECT_EQ(read.named_ports[0].protocol, "TCP");
  EXPECT_EQ(read.named_ports[1].name, "");
  EXPECT_EQ(read.named_ports[1].protocol, "UDP");
  EXPECT_EQ(read.named_ports_text,
            R"([{"Name":"http","Port":8080,"Protocol":"TCP"},{"Name":"","Port":0,"Protocol":"UDP"}])");
}

TEST(WireValues, nothing_is_left_of_the_value_before) {
  IpValue read;
  ASSERT_TRUE(read_ip(kIp, read));
  ASSERT_TRUE(read_ip(R"({"IP":"fd00::1","Mask":null,"HostIP":"","ID":0,"Key":0,"Metadata":""})", read));
  EXPECT_EQ(read.address, "fd00::1");
  for (const auto text : {read.host, read.metadata, read.space, read.pod, read.service_account})
    EXPECT_EQ(text, "");
  EXPECT_EQ(read.identity + read.key, 0);
  EXPECT_TRUE(read.named_ports.empty());
  EXPECT_EQ(read.named_ports_text, "");

  ServiceValue service;
  ASSERT_TRUE(read_service(kService, service));
  ASSERT_TRUE(read_service(
      R"({"cluster":"","namespace":"","name":"","frontends":{},"backends":null,"labels":{},"selector":{},)"
      R"("includeExternal":false,"shared":true,"clusterID":0})",
      service));
  EXPECT_TRUE(service.frontends.empty() && service.backends.empty() && service.port_maps.empty());
  EXPECT_TRUE(service.ports.empty() && service.hints.empty() && service.zones.empty());
  EXPECT_TRUE(service.hostnames.empty() && service.backend_zones.empty());
  EXPECT_TRUE(service.labels.entries.empty() && service.selector.entries.empty());
  EXPECT_FALSE(service.include_external);
  EXPECT_TRUE(service.shared);
}

TEST(WireValues, a_service_is_read) {
  ServiceValue read;
  ASSERT_TRUE(read_service(kService, read));
  EXPECT_EQ(read.cluster, "east");
  EXPECT_EQ(read.space, "shop");
  EXPECT_EQ(read.name, "web");
  EXPECT_EQ(read.cluster_id, 4294967295U);
  EXPECT_TRUE(read.include_external);
  EXPECT_FALSE(read.shared);
  ASSERT_EQ(read.frontends.size(), 1);
  EXPECT_EQ(read.frontends[0].address, "10.96.0.1");
  ASSERT_EQ(read.labels.entries.size(), 2);
  EXPECT_EQ(read.labels.entries[0].key, "a");
  EXPECT_EQ(read.labels.entries[0].text, "b");
  EXPECT_EQ(read.labels.entries[1].text, "");
  EXPECT_EQ(read.labels.text, R"({"a":"b","c":""})");
  EXPECT_EQ(read.selector.text, "null");
  ASSERT_EQ(read.hostnames.size(), 1);
  EXPECT_EQ(read.hostnames[0].backend, 1);
  EXPECT_EQ(read.hostnames[0].text, "h-1");
}

TEST(WireValues, ports_that_are_written_the_same_are_one_map) {
  ServiceValue read;
  ASSERT_TRUE(read_service(kService, read));
  ASSERT_EQ(read.backends.size(), 4);
  EXPECT_EQ(read.backends[2].address, "::ffff:10.1.0.6");
  EXPECT_EQ(read.backends[0].which, read.backends[1].which);
  ASSERT_EQ(read.port_maps.size(), 4);  // the frontend's, the backends', {} and null
  const PortMap& map = read.port_maps[read.backends[0].which];
  ASSERT_EQ(map.ports.count, 2);
  EXPECT_EQ(map.text, R"({"":{"Protocol":"UDP","Port":53},"http":{"Protocol":"TCP","Port":8080}})");
  const NamedPort& port = read.ports[map.ports.first + 1];
  EXPECT_EQ(port.name, "http");
  EXPECT_EQ(port.protocol, "TCP");
  EXPECT_EQ(port.port, 8080);
  EXPECT_EQ(read.port_maps[read.backends[2].which].ports.count, 0);
  EXPECT_EQ(read.port_maps[read.backends[3].which].ports.count, 0);
}

TEST(WireValues, zones_are_those_of_backends) {
  ServiceValue read;
  ASSERT_TRUE(read_service(kService, read));
  ASSERT_EQ(read.zones.size(), 2);
  ASSERT_EQ(read.backend_zones.size(), 3);
  EXPECT_EQ(read.backend_zones[2].backend, 3);
  EXPECT_EQ(read.backend_zones[0].which, read.backend_zones[2].which);
  const Zone& zone = read.zones[read.backend_zones[0].which];
  EXPECT_EQ(zone.name, "az-1");
  ASSERT_EQ(zone.hints.count, 2);
  EXPECT_EQ(read.hints[zone.hints.first + 1], "az-2");
  EXPECT_EQ(read.zones[read.backend_zones[1].which].hints.count, 0);
}

TEST(WireValues, more_maps_of_ports_than_are_compared_are_read_too) {
  std::string backends;
  for (int i = 0; i < 60; ++i) {
    backends += i ? "," : "";
    backends += R"("10.0.0.)" + std::to_string(10 + i) + R"(":{"p":{"Protocol":"TCP","Port":)" +
                std::to_string(1 + i % 20) + "}}";
  }
  ServiceValue read;
  ASSERT_TRUE(read_service(with(kService, R"("10.1.0.4":{"":)", backends + R"(,"10.1.0.4":{"":)"), read));
  for (std::size_t i = 0; i < 60; ++i) {
    const PortMap& map = read.port_maps[read.backends[i].which];
    ASSERT_EQ(map.ports.count, 1);
    EXPECT_EQ(read.ports[map.ports.first].port, 1 + i % 20);
  }
}

TEST(WireValues, an_address_written_otherwise_is_left) {
  const std::vector<std::pair<std::string, std::string>> changes{
      {"{\"IP\"", " {\"IP\""},
      {"{\"IP\"", "{ \"IP\""},
      {R"("IP":)", R"("ip":)"},
      {"10.1.0.4", "10.1.0.04"},
      {"10.1.0.4", "10.1.0"},
      {"10.1.0.4", ""},
      {"10.1.0.4", "FD00::4"},
      {"10.1.0.4", "fd00:0::4"},
      {"10.1.0.4", "::ffff:10.1.0.4"},
      {"10.1.0.4", "fe80::1%e"},
      {"192.0.2.1", "::ffff:192.0.2.1"},
      {"192.0.2.1", "node"},
      {"\"Mask\":null", R"("Mask":"/////w==")"},
      {"\"Mask\":null,", ""},
      {"196608", "4294967296"},
      {"196608", "99999999999999999999999999"},
      {"196608", "0196608"},
      {"196608", "-0"},
      {"196608", "+1"},
      {"196608", "1.0"},
      {"196608", "1e3"},
      {"196608", ""},
      {"196608", "null"},
      {"255", "256"},
      {R"("Metadata":"m")", R"("Metadata":null)"},
      {R"("m")", R"("\u006d")"},
      {R"("m")", "\"\x1f\""},
      {R"("m")", std::string("\"\0\"", 3)},
      {R"("m")", "\"\xff\""},
      {R"("m")", "\"\xed\xa0\x80\""},
      {R"("shop")", R"("")"},
      {R"("shop")", "null"},
      {"8080", "65536"},
      {R"("NamedPorts":[)", R"("NamedPorts":[null,)"},
      {R"({"Name":"http")", R"({"Name":null)"},
      {R"("Port":8080,"Protocol":"TCP")", R"("Protocol":"TCP","Port":8080)"},
      {R"("Protocol":"TCP"})", R"("Protocol":"TCP","More":1})"},
      {R"("UDP"}])", R"("UDP"},])"},
      {R"("UDP"}]})", R"("UDP"}],"More":1})"},
      {R"("UDP"}]})", R"("UDP"}]}})"},
      {R"("UDP"}]})", R"("UDP"}]} )"},
  };
  for (const auto& [old, other] : changes)
    EXPECT_FALSE(reads_ip(with(kIp, old, other))) << old << " " << other;
  const auto ports = kIp.find(R"([{"Name)");
  EXPECT_FALSE(reads_ip(with(kIp, kIp.substr(ports), "[]}")));
  EXPECT_FALSE(reads_ip(with(kIp, kIp.substr(ports), "null}")));
}

TEST(WireValues, a_service_written_otherwise_is_left) {
  const std::vector<std::pair<std::string, std::string>> changes{
      {R"("cluster":"east")", R"("cluster":null)"},
      {R"("cluster":"east","namespace":"shop")", R"("namespace":"shop","cluster":"east")"},
      {R"("name":"web")", R"("name":"web\n")"},
      {R"("10.96.0.1")", R"("")"},
      {R"("10.96.0.1":{)", R"("10.96.0.1":{"a":null,)"},
      {R"("10.1.0.4":{)", R"("10.1.0.9":{)"},          // not in order
      {R"("10.1.0.5":{"":)", R"("10.1.0.4":{"":)"},    // twice
      {R"("10.1.0.4":{"")", R"("10.1.0.4":{"z")"},     // ports not in order
      {R"("10.1.0.4":{"")", R"("10.1.0.4":{"http")"},  // a port twice
      {R"("10.1.0.4":{"")", R"("010.1.0.4":{"")"},
      {R"("fd00::4":null)", R"("FD00::4":null)"},
      {R"("fd00::4":null)", R"("fd00::4":[])"},
      {R"("fd00::4":null)", R"("fd00::4":nul)"},
      {R"(:{},"fd00)", R"(:{,},"fd00)"},
      {"8080", "08080"},
      {"8080", "65536"},
      {R"("hostnames":{"10.1.0.5")", R"("hostnames":{"10.1.0.3")"},  // of no backend
      {R"("hostnames":{"10.1.0.5":"h-1"})", R"("hostnames":{"10.1.0.5":null})"},
      {R"("hostnames":{"10.1.0.5":"h-1"})", R"("hostnames":[])"},
      {R"("zones":{"10.1.0.4")", R"("zones":{"10.1.0.40")"},
      {R"({"zone":"az-1","forZones")", R"({"forZones")"},
      {R"({"zone":"az-2","forZones":null})", "null"},
      {R"({"zone":"az-2","forZones":null})", R"({"zone":"az-2"})"},
      {R"({"zone":"az-2","forZones":null})", R"({"zone":"az-2","forZones":{}})"},
      {R"([{"name":"az-1"},)", R"([null,{"name":"az-1"},)"},
      {R"({"a":"b","c":""})", R"({"a":"b","c":null})"},
      {R"({"a":"b","c":""})", R"({"c":"b","a":""})"},
      {R"({"a":"b","c":""})", R"({"a":"b","a":""})"},
      {R"({"a":"b","c":""})", R"({"a":"b","c":"",})"},
      {R"({"a":"b","c":""})", "[]"},
      {R"("includeExternal":true)", R"("includeExternal":null)"},
      {R"("includeExternal":true)", R"("includeExternal":1)"},
      {R"("includeExternal":true)", R"("includeExternal":truefalse)"},
      {"4294967295", "4294967296"},
      {"4294967295}", R"(1,"more":1})"},
      {"4294967295}", "1}\n"},
  };
  for (const auto& [old, other] : changes)
    EXPECT_FALSE(reads_service(with(kService, old, other))) << old << " " << other;
}

TEST(WireValues, no_part_of_a_value_is_a_value) {
  for (std::size_t size = 0; size < kIp.size(); ++size) EXPECT_FALSE(reads_ip(kIp.substr(0, size))) << size;
  for (std::size_t size = 0; size < kService.size(); ++size)
    EXPECT_FALSE(reads_service(kService.substr(0, size))) << size;
}

TEST(WireValues, hostnames_of_1_18_may_be_empty) {
  const std::string some = R"("hostnames":{"10.1.0.5":"h-1"})";
  EXPECT_TRUE(reads_service(with(kService, some, R"("hostnames":{})")));
  EXPECT_TRUE(reads_service(with(kService, some, R"("hostnames":null)")));
  EXPECT_TRUE(reads_service(with(kService, some + ",", "")));
}

TEST(WireJson, texts_end_at_their_quote_wherever_that_is) {
  for (std::size_t size = 0; size < 40; ++size) {
    const std::string plain(size, 'x');
    for (const std::string& rest : {std::string("\""), std::string("\"yyyyyyyyyyyyyyyy")}) {
      const std::string value = plain + rest;
      Cursor at(value);
      std::string_view text;
      ASSERT_TRUE(at.text(text));
      EXPECT_EQ(text, plain);
    }
    for (const char bad : {'\\', '\n', '\x1f', '\0', '\xff'}) {
      const std::string value = plain + bad + "xxxxxxxxxxxxxxxx\"";
      std::string_view text;
      EXPECT_FALSE(Cursor(value).text(text)) << size;
    }
    std::string_view text;
    EXPECT_FALSE(Cursor(plain).text(text));
  }
}

TEST(WireJson, characters_that_stand_for_themselves_are_taken) {
  for (int byte = 0x20; byte < 0x80; ++byte) {
    if (byte == '"' || byte == '\\') continue;
    const std::string value = std::string(9, static_cast<char>(byte)) + "\"";
    std::string_view text;
    EXPECT_TRUE(Cursor(value).text(text)) << byte;
    EXPECT_EQ(text.size(), 9);
  }
}

TEST(WireJson, utf_8_is_what_unicode_says) {
  for (const auto* good : {"", "a", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80",
                           "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf", "a\xc3\xa9z"})
    EXPECT_TRUE(is_utf8(good)) << good;
  for (const auto* bad :
       {"\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xc2", "\xc2\x41", "\xe0\x9f\xbf", "\xe1\x80",
        "\xe1\x80\x41", "\xe1\x80\xc0", "\xed\xa0\x80", "\xed\xbf\xbf", "\xf0\x8f\xbf\xbf", "\xf1\x80\x80",
        "\xf1\x80\x80\x41", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "a\xc3"})
    EXPECT_FALSE(is_utf8(bad)) << bad;
}

TEST(WireJson, addresses_are_canonical_as_go_prints_them) {
  for (const auto* text : {"10.0.0.1", "::", "::1", "fd00::4", "1:0:0:2::", "::1:0", "::102:304"}) {
    EXPECT_TRUE(is_canonical(text)) << text;
    EXPECT_TRUE(is_canonical_ip(text)) << text;
  }
  for (const auto* text : {"", "x", "010.0.0.1", "10.0.0", "0::1", "FD00::4", "::1.2.3.4", "fe80::1%e",
                           "1:0::", "1:2:3:4:5:6:7::"})
    EXPECT_FALSE(is_canonical(text)) << text;
  EXPECT_TRUE(is_canonical("::ffff:10.0.0.1"));
  EXPECT_FALSE(is_canonical_ip("::ffff:10.0.0.1"));
}

}  // namespace
}  // namespace fleetmesh::wire
