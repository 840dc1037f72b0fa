// A stock omniORB client of proto/router.idl, and a server of its echo, for tests and for the benchmark.
// orb_client REFERENCE CA KEY WORDS...  (CA, KEY: PEM files; KEY may be "-")
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

#include <omniORB4/CORBA.h>
// wants that one first
#include <omniORB4/BiDirPolicy.h>
#include <omniORB4/sslContext.h>
#include <time.h>
#include <unistd.h>

#include "router.hh"

using std::string;

static murmesh::Bytes from_hex(const string &text)
{
	murmesh::Bytes bytes;
	bytes.length(text.size() / 2);
	for (CORBA::ULong i = 0; i < bytes.length(); i++)
		bytes[i] = (CORBA::Octet)std::stoul(text.substr(2 * i, 2), nullptr, 16);
	return bytes;
}

static murmesh::Bytes from_file(const char *path)
{
	std::ifstream file(path, std::ios::binary);
	std::vector<char> all((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
	murmesh::Bytes bytes;
	bytes.length(all.size());
	memcpy(bytes.get_buffer(), all.data(), all.size());
	return bytes;
}

static void hex_print(const murmesh::Bytes &bytes)
{
	for (CORBA::ULong i = 0; i < bytes.length(); i++)
		printf("%02x", bytes[i]);
}

static void hex_line(const char *name, const murmesh::Bytes &bytes)
{
	printf("%s ", name);
	hex_print(bytes);
	printf("\n");
}

static void certificate_print(const murmesh::Certificate &certificate)
{
	printf("status %d\nname %s\n", certificate.status, (const char *)certificate.full_name);
	hex_line("leaf", certificate.leaf);
	hex_line("intermediate", certificate.intermediate);
	hex_line("root", certificate.root);
	hex_line("device", certificate.device_id);
}

static double now()
{
	struct timespec at;
	clock_gettime(CLOCK_MONOTONIC, &at);
	return at.tv_sec + at.tv_nsec / 1e9;
}

static void bench(murmesh::Router_ptr router, double seconds, size_t size)
{
	string text(size, 'x');
	for (int i = 0; i < 100; i++)
		CORBA::string_free(router->echo(text.c_str()));
	double begin = now(), end = begin;
	long n = 0;
	for (; end - begin < seconds; end = now())
		for (int i = 0; i < 100; i++, n++)
			CORBA::string_free(router->echo(text.c_str()));
	printf("%.0f\n", (double)n / (end - begin));
}

class Echo : public POA_murmesh::Router {
	char *version() { return CORBA::string_dup("stock"); }
	char *mesh() { return CORBA::string_dup(""); }
	char *echo(const char *text) { return CORBA::string_dup(text); }
	CORBA::Boolean reaches(murmesh::Receiver_ptr called) { return !called->_non_existent(); }
	void submit(const murmesh::Envelope &) { throw CORBA::NO_IMPLEMENT(); }
	murmesh::Envelopes *poll(CORBA::ULong) { throw CORBA::NO_IMPLEMENT(); }
	void subscribe(murmesh::Receiver_ptr) { throw CORBA::NO_IMPLEMENT(); }
};

static void envelope_print(const murmesh::Envelope &envelope)
{
	printf("envelope ");
	hex_print(envelope.id);
	printf(" %s %s %s %d %u ", (const char *)envelope.sender, (const char *)envelope.destination, (const char *)envelope.type,
	       envelope.priority, envelope.lifetime);
	hex_print(envelope.body);
	printf("\n");
	fflush(stdout);
}

// Takes envelopes, and then does something else.
class Called : public POA_murmesh::Receiver {
public:
	Called(const string &after) : after(after) {}

private:
	string after;
	void take(const murmesh::Envelope &arrived)
	{
		envelope_print(arrived);
		if (after == "dies")
			_exit(9);
		if (after == "throws")
			throw CORBA::NO_RESOURCES();
		while (after == "sleeps")
			sleep(1000);
	}
};

// Its object may be called over connections that it has made itself.
static murmesh::Receiver_ptr receiver_make(CORBA::ORB_ptr orb, bool gone, const string &after = "")
{
	CORBA::Object_var root_object = orb->resolve_initial_references("RootPOA");
	PortableServer::POA_var root = PortableServer::POA::_narrow(root_object);
	CORBA::PolicyList policies(1);
	CORBA::Any value;
	policies.length(1);
	value <<= BiDirPolicy::BOTH;
	policies[0] = orb->create_policy(BiDirPolicy::BIDIRECTIONAL_POLICY_TYPE, value);
	PortableServer::POAManager_var manager = root->the_POAManager();
	PortableServer::POA_var poa = root->create_POA("both", manager, policies);
	PortableServer::Servant_var<Called> servant = new Called(after);
	PortableServer::ObjectId_var id = poa->activate_object(servant);
	manager->activate();
	CORBA::Object_var object = poa->id_to_reference(id);
	murmesh::Receiver_ptr receiver = murmesh::Receiver::_unchecked_narrow(object);
	if (gone)
		poa->deactivate_object(id);
	return receiver;
}

static CORBA::ULong poll(murmesh::Router_ptr router, const char *most)
{
	murmesh::Envelopes_var got = router->poll((CORBA::ULong)std::stol(most));
	printf("polled %u\n", got->length());
	for (CORBA::ULong i = 0; i < got->length(); i++)
		envelope_print(got[i]);
	return got->length();
}

// Whether or not the subscription holds, it does afterwards, or soon.
static void again(murmesh::Router_ptr router, murmesh::Receiver_ptr receiver)
{
	try {
		router->subscribe(receiver);
	} catch (const murmesh::Refused &refused) {
		if (refused.error != 1705)
			throw;
	} catch (const CORBA::SystemException &) {
	}
}

// Id, destination, type, priority, lifetime, length of its body; then all is still well.
static void submit(murmesh::Router_ptr router, char **words)
{
	murmesh::Envelope envelope;
	envelope.id = from_hex(words[0]);
	envelope.sender = (const char *)"server";
	envelope.destination = (const char *)words[1];
	envelope.type = (const char *)words[2];
	envelope.priority = (CORBA::Octet)std::stoul(words[3]);
	envelope.lifetime = (CORBA::ULong)std::stoul(words[4]);
	envelope.body.length((CORBA::ULong)std::stoul(words[5]));
	try {
		router->submit(envelope);
	} catch (const murmesh::Refused &) {
		printf("%s ", (const char *)CORBA::String_var(router->echo("kept")));
		throw;
	}
}

static void serve(CORBA::ORB_ptr orb)
{
	CORBA::Object_var root = orb->resolve_initial_references("RootPOA");
	PortableServer::POA_var poa = PortableServer::POA::_narrow(root);
	PortableServer::Servant_var<Echo> servant = new Echo;
	PortableServer::ObjectId_var id = poa->activate_object(servant);
	CORBA::Object_var object = servant->_this();
	CORBA::String_var text = orb->object_to_string(object);
	poa->the_POAManager()->activate();
	printf("%s\n", (const char *)text);
	fflush(stdout);
	orb->run();
}

// Without a certificate of its own.
class Stranger : public sslContext {
public:
	Stranger(const char *ca) : sslContext(ca, "", "") {}

private:
	void set_certificate() override {}
	void set_privatekey() override {}
};

static void run(CORBA::ORB_ptr orb, const string &reference, char **words, int n)
{
	string what = words[0];
	if (what == "serve")
		return serve(orb);
	CORBA::Object_var object = orb->string_to_object(reference.c_str());
	murmesh::Router_var router = murmesh::Router::_unchecked_narrow(object);
	murmesh::CertificationManager_var manager = murmesh::CertificationManager::_unchecked_narrow(object);
	if (what == "is_a")
		printf("%d %d\n", object->_is_a("IDL:murmesh/Router:1.0"), object->_is_a("IDL:murmesh/CertificationManager:1.0"));
	else if (what == "non_existent")
		printf("%d\n", object->_non_existent());
	else if (what == "narrow")
		printf("%d\n", !CORBA::is_nil(murmesh::Router::_narrow(object)));
	else if (what == "version")
		printf("%s\n%s\n", (const char *)CORBA::String_var(router->version()), (const char *)CORBA::String_var(router->mesh()));
	else if (what == "echo" && n > 1)
		printf("%s\n", (const char *)CORBA::String_var(router->echo(words[1])));
	else if (what == "large" && n > 1) {
		string text(std::stoul(words[1]), 'y');
		printf("%d\n", text == (const char *)CORBA::String_var(router->echo(text.c_str())));
	} else if (what == "reaches" || what == "reaches_gone")
		printf("%d\n", router->reaches(murmesh::Receiver_var(receiver_make(orb, what == "reaches_gone"))));
	else if (what == "reaches_nil")
		printf("%d\n", router->reaches(murmesh::Receiver::_nil()));
	else if (what == "poll")
		for (int i = 1; i < n; i++)
			poll(router, words[i]);
	else if (what == "drain")
		while (poll(router, "1000"))
			;
	else if (what == "submit" && n > 6)
		submit(router, words + 1);
	else if (what == "subscribe" && n > 1) {
		murmesh::Receiver_var receiver = murmesh::Receiver::_nil();
		if (strcmp(words[1], "nil") != 0)
			receiver = receiver_make(orb, strcmp(words[1], "gone") == 0, words[1]);
		if (n > 2)
			poll(router, words[2]);
		router->subscribe(receiver);
		printf("subscribed\n");
		fflush(stdout);
		if (n > 3)
			poll(router, words[3]);
		while (strcmp(words[1], "again") == 0) {
			usleep(100000);
			again(router, receiver);
		}
		orb->run();
	} else if (what == "token" && n > 2) {
		murmesh::Token_var token = manager->request_token(from_hex(words[1]), words[2]);
		hex_line("enrolment", token->enrolment);
		printf("name %s\n", (const char *)token->full_name);
	} else if (what == "certificate" && n > 3) {
		murmesh::CertificateRequest wanted;
		wanted.enrolment = from_hex(words[1]);
		wanted.kind = murmesh::NODE;
		wanted.csr = from_file(words[2]);
		wanted.proof = from_hex(words[3]);
		wanted.os = "stock";
		wanted.arch = "any";
		wanted.agent_version = "0";
		murmesh::Certificate_var certificate = manager->request_certificate(wanted);
		certificate_print(certificate);
	} else if (what == "renew" && n > 1) {
		murmesh::Certificate_var certificate = manager->renew_certificate(from_file(words[1]), murmesh::NODE, murmesh::Bytes(), 0);
		certificate_print(certificate);
	} else if (what == "bench" && n > 2)
		bench(router, std::stod(words[1]), std::stoul(words[2]));
	else
		throw std::runtime_error("no such word: " + what);
}

int main(int argc, char **argv)
{
	if (argc < 5)
		return 64;
	try {
		sslContext::certificate_authority_file = argv[2];
		sslContext::key_file = argv[3];
		sslContext::key_file_password = "";
		sslContext::verify_mode = SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
		if (strcmp(argv[3], "-") == 0)
			sslContext::singleton = new Stranger(argv[2]);
		CORBA::ORB_var orb = CORBA::ORB_init(argc, argv);
		run(orb, argv[1], argv + 4, argc - 4);
		orb->destroy();
		return 0;
	} catch (const murmesh::Refused &refused) {
		printf("Refused %u %s\n", refused.error, (const char *)refused.text);
	} catch (const CORBA::SystemException &e) {
		printf("%s %x\n", e._name(), e.minor());
	} catch (const std::exception &e) {
		printf("%s\n", e.what());
	}
	return 1;
}
