plugins {
    id("com.android.application")
    id("org.jetbrains.kotlin.android")
}

val repository = rootDir.parentFile
val made = layout.buildDirectory.dir("made").get().asFile

/** The library for phones; needs `cargo install cargo-ndk`, the NDK, and Rust's targets for Android. */
val coreLibrary by tasks.registering(Exec::class) {
    workingDir = repository
    commandLine(
        "cargo", "ndk", "--platform", "31", "--target", "arm64-v8a", "--target", "x86_64",
        "--output-dir", "$made/jniLibs", "build", "--locked", "--release", "-p", "osier-mobile",
    )
}

/** The Kotlin for it, from the same sources; by way of the library for this machine. */
val bindings by tasks.registering(Exec::class) {
    workingDir = repository
    environment("CARGO_TARGET_DIR", System.getenv("CARGO_TARGET_DIR") ?: "$repository/target")
    commandLine("mobile-bindings/generate", "kotlin", "$made/kotlin")
}

/** The texts, of the desktop app's catalogue; needs Node. */
val texts by tasks.registering(Exec::class) {
    workingDir = repository
    commandLine("mobile-bindings/texts", "android", "$made/texts")
}

android {
    namespace = "org.osier.android"
    compileSdk = 34

    defaultConfig {
        applicationId = "org.osier.android"
        minSdk = 31
        targetSdk = 34
        versionCode = 1
        versionName = "0.1.0"
    }

    sourceSets["main"].apply {
        kotlin.srcDir("$made/kotlin")
        res.srcDir("$made/texts")
        jniLibs.srcDir("$made/jniLibs")
    }

    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_17
        targetCompatibility = JavaVersion.VERSION_17
    }

    testOptions.unitTests {
        isIncludeAndroidResources = true
        all {
            val target = System.getenv("CARGO_TARGET_DIR") ?: "$repository/target"
            it.systemProperty("jna.library.path", "$target/debug")
            it.systemProperty("screens", "${layout.buildDirectory.get()}/screens")
        }
    }
}

kotlin.jvmToolchain(17)

tasks.named("preBuild") { dependsOn(coreLibrary, bindings, texts) }

dependencies {
    implementation("org.jetbrains.kotlinx:kotlinx-coroutines-android:1.10.2")
    implementation("net.java.dev.jna:jna:5.17.0@aar")
    implementation("com.google.zxing:core:3.5.3")
    testImplementation("junit:junit:4.13.2")
    testImplementation("net.java.dev.jna:jna:5.17.0")
    // src/test/kotlin/shims has what is needed of it.
    testImplementation("org.robolectric:robolectric:4.16") { exclude(group = "androidx.test") }
}
