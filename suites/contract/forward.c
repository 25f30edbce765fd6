/* The symbols that TensorRT 11's Python bindings need, forwarded to TensorRT-RTX's libraries.
 *
 * Bindings ask for an interface of their own version and RTX answers for its own; the two products
 * share the layout of their classes in major version 11, and in no other.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAJOR = 11, PER_MAJOR = 10000 };

static void *library(const char *variable, void **handle) {
    if (!*handle) {
        const char *path = getenv(variable);
        *handle = path ? dlopen(path, RTLD_NOW | RTLD_GLOBAL) : NULL;
        if (!*handle) fprintf(stderr, "%s: %s\n", variable, path ? dlerror() : "not set");
    }
    return *handle;
}

static void *symbol(const char *name) {
    static void *builder, *parser;
    /* The parser needs the builder's symbols, so the builder comes first. */
    void *first = library("VOXGATE_RTX_BUILDER", &builder);
    void *handle = strstr(name, "Onnx") ? library("VOXGATE_RTX_PARSER", &parser) : first;
    void *found = handle ? dlsym(handle, name) : NULL;
    if (!found) fprintf(stderr, "TensorRT-RTX has no %s\n", name);
    return found;
}

static int32_t version_of(const char *name) {
    int32_t (*version)(void) = (int32_t(*)(void))symbol(name);
    return version ? version() : 0;
}

static int refused(int32_t version) {
    if (version / PER_MAJOR == MAJOR) return 0;
    fprintf(stderr, "bindings of version %d cannot be forwarded\n", version);
    return 1;
}

void *createInferBuilder_INTERNAL(void *logger, int32_t version) {
    void *(*create)(void *, int32_t) = (void *(*)(void *, int32_t))symbol(__func__);
    return refused(version) || !create ? NULL : create(logger, version_of("getInferLibVersion"));
}

void *createInferRuntime_INTERNAL(void *logger, int32_t version) {
    void *(*create)(void *, int32_t) = (void *(*)(void *, int32_t))symbol(__func__);
    return refused(version) || !create ? NULL : create(logger, version_of("getInferLibVersion"));
}

void *createNvOnnxParser_INTERNAL(void *network, void *logger, int32_t version) {
    void *(*create)(void *, void *, int32_t) =
        (void *(*)(void *, void *, int32_t))symbol(__func__);
    (void)version;
    return create ? create(network, logger, version_of("getNvOnnxParserVersion")) : NULL;
}

int32_t getNvOnnxParserVersion(void) { return version_of(__func__); }

void *getPluginRegistry(void) {
    void *(*get)(void) = (void *(*)(void))symbol(__func__);
    return get ? get() : NULL;
}

void *getBuilderPluginRegistry(int32_t capability) {
    void *(*get)(int32_t) = (void *(*)(int32_t))symbol(__func__);
    return get ? get(capability) : NULL;
}

/* Never called by the backend. */
void *createInferRefitter_INTERNAL(void) { return NULL; }
void *createNvOnnxParserRefitter_INTERNAL(void) { return NULL; }
int initLibNvInferPlugins(void) { return 0; }
